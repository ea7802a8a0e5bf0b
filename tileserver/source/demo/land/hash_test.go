package land

// Of the scene that TestSeedDecidesEverything paints.
const (
	wantLayout uint64 = 0x5a252f90daf851a4
	wantPixels uint64 = 0xea2c430da6c8f009
)
