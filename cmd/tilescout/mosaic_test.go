package main

import (
	"bytes"
	"database/sql"
	"image"
	"image/jpeg"
	"image/png"
	"testing"

	"golang.org/x/image/draw"
	_ "modernc.org/sqlite"
)

// scene is one labelled picture.
type scene struct {
	class   string
	picture image.Image
}

// mosaic is scenes laid on a tile grid, one per tile. (Mosaics of real scenes are laid by plugin/eval.)
type mosaic struct {
	side   int
	scenes []scene
}

const (
	mosaicZoom = 16
	mosaicX    = 33000
	mosaicY    = 22000
)

// write draws the mosaic's tiles, and those of the zoom above, as MBTiles.
func (m mosaic) write(t testing.TB, path string) {
	t.Helper()
	side := m.side + 1 // parents take two by two
	canvas := image.NewRGBA(image.Rect(0, 0, side*256, side*256))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(image.Black.C), image.Point{}, draw.Src)
	for i, s := range m.scenes {
		x, y := i%m.side*256, i/m.side*256
		draw.CatmullRom.Scale(canvas, image.Rect(x, y, x+256, y+256), s.picture, s.picture.Bounds(), draw.Src, nil)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(q string, args ...any) {
		if _, err := db.Exec(q, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE metadata (name TEXT, value TEXT)")
	exec("CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)")
	exec("BEGIN")
	for _, row := range [][2]string{{"name", "mosaic"}, {"format", "jpg"}, {"minzoom", "15"}, {"maxzoom", "16"}} {
		exec("INSERT INTO metadata VALUES (?, ?)", row[0], row[1])
	}
	put := func(z, x, y int, img image.Image) {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
			t.Fatal(err)
		}
		exec("INSERT INTO tiles VALUES (?, ?, ?, ?)", z, x, 1<<z-1-y, b.Bytes())
	}
	for y := range side {
		for x := range side {
			put(mosaicZoom, mosaicX+x, mosaicY+y, canvas.SubImage(image.Rect(x*256, y*256, x*256+256, y*256+256)))
		}
	}
	for y := 0; y < side; y += 2 {
		for x := 0; x < side; x += 2 {
			parent := image.NewRGBA(image.Rect(0, 0, 256, 256))
			r := image.Rect(x*256, y*256, x*256+512, y*256+512).Intersect(canvas.Bounds())
			draw.BiLinear.Scale(parent, image.Rect(0, 0, r.Dx()/2, r.Dy()/2), canvas, r, draw.Src, nil)
			put(mosaicZoom-1, (mosaicX+x)/2, (mosaicY+y)/2, parent)
		}
	}
	exec("COMMIT")
}

// plain is a one-coloured picture.
func plain(grey uint8) image.Image {
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	return img
}

func pngOf(img image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}
