package geotiff_test

import (
	"context"
	"fmt"
	"os"

	"github.com/tilescout/tilescout/geo/geotiff"
)

func Example() {
	file, err := os.Open("harbour.tif")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := geotiff.Open(file, stat.Size(), geotiff.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	img, err := f.Render(context.Background(), f.Info().Mercator, 256, 256, geotiff.Bilinear)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(img.Bounds())
}
