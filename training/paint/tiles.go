package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout/tileserver/source/demo"
	"github.com/tilescout/tilescout/tileserver/source/demo/land"
)

const readme = `Tiles of painted scenes, written by training/paint; nothing in them is a real place.
tiles.jsonl has a line a tile: file, labels (the classes it shows), partly (classes it shows too little of to count
either way), main (the class it was chosen for), zoom (of the web mercator grid whose tile size it has), seed (of its scene).
`

// line is one entry of tiles.jsonl.
type line struct {
	File   string   `json:"file"`
	Labels []string `json:"labels"`
	Partly []string `json:"partly,omitempty"`
	Main   string   `json:"main"`
	Zoom   int      `json:"zoom"`
	Seed   uint64   `json:"seed"`
}

// write paints scene after scene; tiles.jsonl appears when all of them are there.
func write(ctx context.Context, o options, stderr io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	list, err := renameio.NewPendingFile(filepath.Join(o.out, "tiles.jsonl"), renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	defer list.Cleanup()
	if err := renameio.WriteFile(filepath.Join(o.out, "README"), []byte(readme), 0o644); err != nil {
		return fmt.Errorf("write the note: %w", err)
	}
	out := bufio.NewWriter(list)
	enc := json.NewEncoder(out)
	total := 0
	pix := make([]byte, o.width*o.height*3)
	for k, seed := range o.seeds {
		world := land.New(seed, o.width, o.height)
		if err := world.Paint(ctx, 0, 0, o.width, o.height, o.workers, pix); err != nil {
			return err
		}
		lines, err := scene(o, world, seed, pix)
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := enc.Encode(l); err != nil {
				return fmt.Errorf("write the list: %w", err)
			}
		}
		total += len(lines)
		fmt.Fprintf(stderr, "scene %d (%d of %d): %d tiles, %d in all\n", seed, k+1, len(o.seeds), len(lines), total)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return list.CloseAtomicallyReplace()
}

// scene cuts a scene's tiles: classes take turns; each try picks an object of the class, a zoom and a window near
// the object, and is kept if the truth says that the window shows the class.
func scene(o options, world *land.World, seed uint64, pix []byte) ([]line, error) {
	truth := demo.Truth(world)
	r := rand.New(rand.NewPCG(seed, 0x7061_696e))
	objects := map[string][]land.Feature{}
	var classes []string
	for _, f := range world.Features {
		if objects[f.Class] == nil {
			classes = append(classes, f.Class)
		}
		objects[f.Class] = append(objects[f.Class], f)
	}
	slices.Sort(classes)
	var lines []line
	// A class whose turn brings nothing 60 times over (too small at these zooms, cut off by the edge) is left out
	// of this round.
	for turn, misses := 0, 0; len(lines) < o.perScene && misses < len(classes); turn++ {
		class := classes[turn%len(classes)]
		var l *line
		var x, y, side float64
		var z int
		for try := 0; l == nil && try < 60; try++ {
			f := objects[class][r.IntN(len(objects[class]))]
			z = o.zooms[r.IntN(len(o.zooms))]
			side = demo.TilePixels(maptile.Zoom(z))
			var ok bool
			if x, y, ok = window(r, f, side, o); ok {
				l = judge(truth, world, class, x, y, side)
			}
		}
		if l == nil {
			misses++
			continue
		}
		misses = 0
		l.Zoom, l.Seed = z, seed
		ext := "jpg"
		if o.quality == 0 {
			ext = "png"
		}
		l.File = fmt.Sprintf("%d/%04d.%s", seed, len(lines), ext)
		if err := save(filepath.Join(o.out, l.File), cut(pix, o.width, x, y, side, o.size), o.quality); err != nil {
			return nil, err
		}
		lines = append(lines, *l)
	}
	return lines, nil
}

// window picks a window of a side in pixels inside the picture and near an object.
func window(r *rand.Rand, f land.Feature, side float64, o options) (x, y float64, ok bool) {
	x0, y0, x1, y1 := 1e9, 1e9, -1e9, -1e9
	for _, p := range f.Ring {
		px, py := float64(p.X)/land.GSD, float64(p.Y)/land.GSD
		x0, x1, y0, y1 = min(x0, px), max(x1, px), min(y0, py), max(y1, py)
	}
	// The window's middle lies in the object's box, or its edge reaches a little over it.
	x = x0 + r.Float64()*(x1-x0) - side/2
	y = y0 + r.Float64()*(y1-y0) - side/2
	x, y = min(max(x, 0), float64(o.width)-side), min(max(y, 0), float64(o.height)-side)
	return x, y, x >= 0 && y >= 0
}

// judge asks the truth what a window shows; nil if not the class.
func judge(truth *geojson.FeatureCollection, world *land.World, class string, x, y, side float64) *line {
	labels := demo.LabelsWithin(truth, demo.Window(world, x, y, x+side, y+side))
	if demo.AnswerOf(labels, class) != demo.Positive {
		return nil
	}
	l := &line{Main: class}
	for _, lb := range labels {
		if lb.Answer == demo.Positive {
			l.Labels = append(l.Labels, lb.Class)
		} else {
			l.Partly = append(l.Partly, lb.Class)
		}
	}
	return l
}

// cut resamples a window to size pixels: the mean over each target pixel's square where it shrinks, bilinear where
// it grows.
func cut(pix []byte, width int, x, y, side float64, size int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	height := len(pix) / 3 / width
	step := side / float64(size)
	taps := max(1, int(step+.5))
	at := func(fx, fy float64, sum *[3]float64) {
		fx, fy = min(max(fx-.5, 0), float64(width-2)), min(max(fy-.5, 0), float64(height-2))
		ix, iy := int(fx), int(fy)
		tx, ty := fx-float64(ix), fy-float64(iy)
		o := (iy*width + ix) * 3
		for k := range 3 {
			a := float64(pix[o+k])*(1-tx) + float64(pix[o+3+k])*tx
			b := float64(pix[o+width*3+k])*(1-tx) + float64(pix[o+width*3+3+k])*tx
			sum[k] += a*(1-ty) + b*ty
		}
	}
	for j := range size {
		for i := range size {
			var sum [3]float64
			for b := range taps {
				for a := range taps {
					at(x+(float64(i)+(float64(a)+.5)/float64(taps))*step, y+(float64(j)+(float64(b)+.5)/float64(taps))*step, &sum)
				}
			}
			n := float64(taps * taps)
			o := m.PixOffset(i, j)
			m.Pix[o], m.Pix[o+1], m.Pix[o+2], m.Pix[o+3] = byte(sum[0]/n+.5), byte(sum[1]/n+.5), byte(sum[2]/n+.5), 255
		}
	}
	return m
}

func save(path string, m image.Image, quality int) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a tile: %w", err)
	}
	if quality == 0 {
		err = png.Encode(f, m)
	} else {
		err = jpeg.Encode(f, m, &jpeg.Options{Quality: quality})
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
