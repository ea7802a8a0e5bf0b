package sourcetest_test

import (
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func TestMemory(t *testing.T) {
	tiles := map[maptile.Tile][]byte{}
	for _, tile := range []maptile.Tile{{X: 1, Y: 0, Z: 1}, {X: 2, Y: 1, Z: 2}, {X: 3, Y: 1, Z: 2}} {
		tiles[tile] = sourcetest.Paint(tile, 256)
	}
	src, err := sourcetest.NewMemory("memory", tiles)
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, src, maptile.New(2, 1, 2), maptile.New(0, 0, 2))
}

func TestMemoryRefusesWhatIsNoPicture(t *testing.T) {
	if _, err := sourcetest.NewMemory("memory", map[maptile.Tile][]byte{{}: []byte("<html>")}); err == nil {
		t.Error("NewMemory took an HTML page")
	}
}
