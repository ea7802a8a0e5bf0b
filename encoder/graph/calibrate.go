package graph

// Tap is the input of a product whose values Calibrate looks at.
type Tap struct {
	Name     string
	Channels int
}
