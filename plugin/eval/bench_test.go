package eval

import (
	"image/color"
	"math/rand/v2"
	"testing"

	"github.com/tilescout/tilescout/encoder/encodertest"

	"github.com/tilescout/tilescout/encoder"
)

// BenchmarkDisturb prints how many disturbed tiles one core makes, encoded for the encoder.
func BenchmarkDisturb(b *testing.B) {
	m, err := encoder.Decode(encodertest.PNG(encodertest.Tile(color.NRGBA{120, 90, 60, 255}, 1)).Data)
	if err != nil {
		b.Fatal(err)
	}
	tile := scaled(m, tileSide, tileSide)
	for _, d := range disturbances() {
		if d.apply == nil {
			continue
		}
		b.Run(d.name, func(b *testing.B) {
			for b.Loop() {
				copied := *tile
				copied.Pix = append([]uint8(nil), tile.Pix...)
				if _, err := encodePNG(d.apply(&copied, rand.New(rand.NewPCG(1, 1)))); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
		})
	}
}
