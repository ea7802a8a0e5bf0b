// Package demo makes the scene that `tilescout demo` shows: an invented stretch of coast with its town, drawn by
// land at 0.6 m a pixel, written as a Cloud-Optimized GeoTIFF with its ground truth as GeoJSON beside it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/renameio/v2"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/project"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo/cogwrite"
	"github.com/tilescout/tilescout/tileserver/source/demo/land"
)

// PainterVersion changes whenever the same seed gives other pixels or other truth.
const PainterVersion = 3

// Where the scene lies: the open Atlantic, so that it covers nobody's land. At this latitude a pixel of 0.8 m in
// EPSG:3857 is 0.6 m on the ground.
const (
	middleLon  = -40.0
	middleLat  = 41.4096
	pixelSize  = 0.8
	maxPixels  = 1 << 28
	defaultW   = 6144
	defaultH   = 5120
	quality    = 88 // of JPEG
	Seed       = 2  // of the scene that is shown when nothing else is asked for
	attributed = "drawn by Tilescout, not a real place"
)

// Options of a scene; the zero value is the default scene.
type Options struct {
	Seed          uint64 // 0 means Seed
	Width, Height int    // pixels; 0 means 6144×5120
}

// Scene is a painted scene on disk.
type Scene struct {
	Image, Truth       string    // paths of the GeoTIFF and the GeoJSON
	Bound              orb.Bound // degrees
	Title, Attribution string
}

func (o *Options) setDefaults() error {
	if o.Seed == 0 {
		o.Seed = Seed
	}
	if o.Width == 0 {
		o.Width = defaultW
	}
	if o.Height == 0 {
		o.Height = defaultH
	}
	if o.Width < 64 || o.Height < 64 || o.Width > 1<<15 || o.Height > 1<<15 || o.Width*o.Height > maxPixels {
		return fmt.Errorf("demo: scene of %d×%d pixels, want 64…32768 a side and at most %d in all: %w", o.Width, o.Height, maxPixels, tilescout.ErrBadInput)
	}
	return nil
}

// place is where a scene of some size lies in EPSG:3857.
type place struct{ west, north float64 }

func placeOf(width, height int) place {
	m := project.WGS84.ToMercator(orb.Point{middleLon, middleLat})
	return place{math.Round(m[0]) - float64(width)*pixelSize/2, math.Round(m[1]) + float64(height)*pixelSize/2}
}

// lonLat takes a pixel position to degrees.
func (p place) lonLat(x, y float64) orb.Point {
	return project.Mercator.ToWGS84(orb.Point{p.west + x*pixelSize, p.north - y*pixelSize})
}

func (p place) bound(width, height int) orb.Bound {
	a, b := p.lonLat(0, float64(height)), p.lonLat(float64(width), 0)
	return orb.Bound{Min: a, Max: b}
}

// Ensure paints the scene under dir, or finds the one that was painted before with the same options and painter.
// Files appear whole or not at all; several processes may call it at once. progress, which may be nil, hears of
// every block of 512 pixels. Errors: ErrBadInput for a size out of range, ctx's, or those of the file system.
func Ensure(ctx context.Context, dir string, o Options, progress func(done, total int)) (Scene, error) {
	if err := o.setDefaults(); err != nil {
		return Scene{}, err
	}
	base := filepath.Join(dir, fmt.Sprintf("demo-%d-%dx%d-v%d", o.Seed, o.Width, o.Height, PainterVersion))
	at := placeOf(o.Width, o.Height)
	s := Scene{Image: base + ".tif", Truth: base + ".geojson", Bound: at.bound(o.Width, o.Height),
		Title: "Demo scene", Attribution: attributed}
	// The image is renamed into place last, so where it is there the truth is whole too.
	switch found, err := exist(s.Truth, s.Image); {
	case err != nil:
		return Scene{}, fmt.Errorf("demo: %w", err)
	case found:
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Scene{}, fmt.Errorf("demo: make the folder: %w", err)
	}
	world := land.New(o.Seed, o.Width, o.Height)
	truth, err := Truth(world).MarshalJSON()
	if err != nil {
		return Scene{}, fmt.Errorf("demo: encode the truth: %w", err)
	}
	if err := renameio.WriteFile(s.Truth, truth, 0o644); err != nil {
		return Scene{}, fmt.Errorf("demo: write the truth: %w", err)
	}
	if err := writeImage(ctx, s.Image, world, at, progress); err != nil {
		return Scene{}, fmt.Errorf("demo: write the image: %w", err)
	}
	return s, nil
}

func writeImage(ctx context.Context, path string, world *land.World, at place, progress func(done, total int)) (err error) {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	spool, err := os.CreateTemp(filepath.Dir(path), ".demo-*.part")
	if err != nil {
		return err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	err = cogwrite.Write(ctx, f, spool, world.Width, world.Height, paint(world), cogwrite.Options{
		EPSG: 3857, West: at.west, North: at.north, PixelSize: pixelSize, Quality: quality,
		Description: "Tilescout demo scene", Copyright: attributed, Parallel: runtime.GOMAXPROCS(0), Progress: progress,
	})
	if err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// exist says whether all the files are there and not empty.
func exist(paths ...string) (bool, error) {
	for _, p := range paths {
		st, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !st.Mode().IsRegular() || st.Size() == 0 {
			return false, nil
		}
	}
	return true, nil
}

// paint draws a world block by block.
func paint(world *land.World) cogwrite.Block {
	const side = cogwrite.BlockSide
	return func(ctx context.Context, x, y int) (*image.NRGBA, error) {
		wide, high := min(side, world.Width-x*side), min(side, world.Height-y*side)
		rgb := make([]byte, 3*wide*high)
		if err := world.Paint(ctx, x*side, y*side, wide, high, 1, rgb); err != nil {
			return nil, err
		}
		out := image.NewNRGBA(image.Rect(0, 0, side, side))
		for row := range high {
			dst := out.Pix[row*out.Stride:]
			for i := range wide {
				s := rgb[3*(row*wide+i):]
				dst[4*i], dst[4*i+1], dst[4*i+2], dst[4*i+3] = s[0], s[1], s[2], 255
			}
		}
		return out, nil
	}
}
