package geo_test

import (
	"fmt"

	"github.com/tilescout/tilescout/geo"
)

func Example() {
	t, err := geo.ParseTile("14", "8389", "5420")
	if err != nil {
		fmt.Println(err)
		return
	}
	b := geo.Bound(t)
	fmt.Printf("%.4f %.4f\n", b.Min, b.Max)
	fmt.Println(geo.Morton(t), geo.FromMorton(geo.Morton(t), 14) == t)
	fmt.Printf("%.2f m/px\n", geo.GroundResolution(b.Center()[1], t.Z, 256))
	// Output:
	// [4.3286 51.8765] [4.3506 51.8901]
	// 102914225 true
	// 5.90 m/px
}
