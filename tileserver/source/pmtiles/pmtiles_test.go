package pmtiles_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/geo"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

var modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t testing.TB, path string) *pmtiles.Source {
	t.Helper()
	src, err := pmtiles.Open(context.Background(), source.Spec{ID: "test", Source: path}, pmtiles.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

type tile struct {
	t    maptile.Tile
	data []byte
}

// write makes an archive of tiles in the order given.
func write(t testing.TB, info tilescout.LayerInfo, tiles ...tile) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "written.pmtiles")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pmtiles.NewWriter(f, pmtiles.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tiles {
		if err := w.Put(x.t, x.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(info); err != nil {
		t.Fatal(err)
	}
	return path
}

// Ids from the examples of the specification, and the ends of zooms.
func TestTileID(t *testing.T) {
	for _, c := range []struct {
		t    maptile.Tile
		want uint64
	}{
		{maptile.New(0, 0, 0), 0}, {maptile.New(0, 0, 1), 1}, {maptile.New(0, 1, 1), 2}, {maptile.New(1, 1, 1), 3},
		{maptile.New(1, 0, 1), 4}, {maptile.New(0, 0, 2), 5}, {maptile.New(3423, 1763, 12), 19078479},
		{maptile.New(1<<30-1, 0, 30), 1537228672809129300},
	} {
		if got := pmtiles.TileID(c.t); got != c.want {
			t.Errorf("TileID(%v) = %d, want %d", c.t, got, c.want)
		}
	}
}

func TestOrder(t *testing.T) {
	for _, bounds := range [][]orb.Bound{
		{source.World},
		{{Min: orb.Point{-10, 20}, Max: orb.Point{35, 60}}},
		{{Min: orb.Point{170, -20}, Max: orb.Point{180, 20}}, {Min: orb.Point{-180, -20}, Max: orb.Point{-170, 20}}},
		{{Min: orb.Point{0, 0}, Max: orb.Point{9, 9}}, {Min: orb.Point{5, 5}, Max: orb.Point{20, 20}}}, // overlap
	} {
		for z := range maptile.Zoom(7) {
			want := map[maptile.Tile]bool{}
			for _, b := range bounds {
				for x := range geo.Cover(b, z) {
					want[x] = true
				}
			}
			last, n := int64(-1), 0
			for x := range pmtiles.Order(bounds, z) {
				if !want[x] || int64(pmtiles.TileID(x)) <= last {
					t.Fatalf("Order(%v, %d) yields %v after id %d, wanted: %v", bounds, z, x, last, want[x])
				}
				last = int64(pmtiles.TileID(x))
				n++
			}
			if n != len(want) {
				t.Errorf("Order(%v, %d) yields %d tiles, want %d", bounds, z, n, len(want))
			}
		}
	}
}

func TestConformance(t *testing.T) {
	path := write(t, tilescout.LayerInfo{ID: "written", Bound: source.World},
		tile{maptile.New(0, 3, 2), sourcetest.Paint(maptile.New(0, 3, 2), 256)},
		tile{maptile.New(1, 1, 3), sourcetest.Paint(maptile.New(1, 1, 3), 256)})
	sourcetest.Run(t, open(t, path), maptile.New(1, 1, 3), maptile.New(7, 7, 3))
}

func TestRealFiles(t *testing.T) {
	for _, c := range []struct {
		file, mediaType, title string
		side                   int
		tiles                  int
		least, most            maptile.Zoom
		bound                  orb.Bound
	}{
		{"mt_whitney_topo_webp512.pmtiles", tilescout.WebP, "", 512, 50, 8, 15, orb.Bound{Min: orb.Point{-118.31982, 36.56109}, Max: orb.Point{-118.26069, 36.59301}}},
		{"world_satellite_jpg.pmtiles", tilescout.JPEG, "", 256, 85, 0, 3, source.World},
	} {
		t.Run(c.file, func(t *testing.T) {
			src := open(t, sourcetest.Shared(t, "geo", "pmtiles", c.file))
			info := src.Info()
			if info.MediaType != c.mediaType || info.TileSize != c.side || info.MinZoom != c.least || info.MaxZoom != c.most || info.Title == "" {
				t.Errorf("Info() = %+v, want %+v", info, c)
			}
			for i := range 2 {
				if d := info.Bound.Min[i] - c.bound.Min[i]; d > 1e-5 || d < -1e-5 {
					t.Errorf("bound %v, want %v", info.Bound, c.bound)
				}
			}
			n := 0
			for z := c.least; z <= c.most; z++ {
				for x := range pmtiles.Order([]orb.Bound{info.Bound}, z) {
					pic, err := src.Tile(t.Context(), x)
					if err != nil || pic.MediaType != c.mediaType {
						t.Errorf("Tile(%v) = %q, %v", x, pic.MediaType, err)
						continue
					}
					n++
				}
			}
			if n != c.tiles {
				t.Errorf("%d tiles, want %d", n, c.tiles)
			}
		})
	}
}

// TestSameBytes: the archive was made from the files of a zip; each tile is the file, byte for byte.
func TestSameBytes(t *testing.T) {
	src := open(t, sourcetest.Shared(t, "geo", "pmtiles", "world_satellite_jpg.pmtiles"))
	files, err := zip.OpenReader(sourcetest.Shared(t, "geo", "xyz", "world_satellite_xyz_z0-3.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	n := 0
	for _, f := range files.File {
		var z, x, y uint32
		name := f.Name
		if i := strings.Index(name, "/"); strings.Count(name, "/") == 3 {
			name = name[i+1:]
		}
		if _, err := fmt.Sscanf(name, "%d/%d/%d.jpg", &z, &x, &y); err != nil {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		pic, err := src.Tile(t.Context(), maptile.New(x, y, maptile.Zoom(z)))
		if err != nil || !bytes.Equal(pic.Data, want) {
			t.Errorf("%s: %d bytes, %v, want %d", f.Name, len(pic.Data), err, len(want))
		}
		n++
	}
	if n != 85 {
		t.Errorf("%d files compared, want 85", n)
	}
}

// TestLeaves writes so many tiles that leaf directories are needed, and reads each back.
func TestLeaves(t *testing.T) {
	const contents = 64
	pictures := make([][]byte, contents)
	for i := range pictures {
		pictures[i] = sourcetest.Paint(maptile.New(uint32(i), 0, 10), 16)
	}
	random := rand.New(rand.NewPCG(1, 2))
	content := map[maptile.Tile]int{}
	var tiles []tile
	for z := range maptile.Zoom(9) {
		for x := range pmtiles.Order([]orb.Bound{source.World}, z) {
			i := random.IntN(contents + 8)
			if i >= contents {
				continue
			}
			content[x] = i
			tiles = append(tiles, tile{x, pictures[i]})
		}
	}
	for _, order := range []string{"rising", "shuffled"} {
		if order == "shuffled" {
			random.Shuffle(len(tiles), func(i, j int) { tiles[i], tiles[j] = tiles[j], tiles[i] })
		}
		t.Run(order, func(t *testing.T) {
			path := write(t, tilescout.LayerInfo{Title: "Noise", Attribution: "© nobody", Description: "drawn", Bound: source.World}, tiles...)
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if leaves := binary.LittleEndian.Uint64(file[48:]); leaves == 0 {
				t.Error("the archive has no leaf directories, the test needs some")
			}
			if clustered := file[96] == 1; clustered != (order == "rising") {
				t.Errorf("clustered: %v", clustered)
			}
			if n := binary.LittleEndian.Uint64(file[88:]); n != contents {
				t.Errorf("%d contents, want %d", n, contents)
			}
			src := open(t, path)
			info := src.Info()
			if info.Title != "Noise" || info.Attribution != "© nobody" || info.Description != "drawn" || info.MinZoom != 0 || info.MaxZoom != 8 || info.MediaType != tilescout.PNG {
				t.Errorf("Info() = %+v", info)
			}
			for z := range maptile.Zoom(9) {
				for x := range pmtiles.Order([]orb.Bound{source.World}, z) {
					pic, err := src.Tile(t.Context(), x)
					i, there := content[x]
					if there && (err != nil || !bytes.Equal(pic.Data, pictures[i])) || !there && !errors.Is(err, tilescout.ErrNotFound) {
						t.Fatalf("Tile(%v) = %d bytes, %v, there: %v", x, len(pic.Data), err, there)
					}
				}
			}
		})
	}
}

func TestRuns(t *testing.T) {
	sea, land := sourcetest.Paint(maptile.New(0, 0, 0), 64), sourcetest.Paint(maptile.New(1, 0, 0), 64)
	var tiles []tile
	for x := range pmtiles.Order([]orb.Bound{source.World}, 5) {
		data := sea
		if x == maptile.New(7, 7, 5) {
			data = land
		}
		tiles = append(tiles, tile{x, data})
	}
	path := write(t, tilescout.LayerInfo{Bound: source.World}, tiles...)
	file, _ := os.ReadFile(path)
	if entries := binary.LittleEndian.Uint64(file[80:]); entries != 3 {
		t.Errorf("%d entries, want 3: a run, one tile, a run", entries)
	}
	src := open(t, path)
	for _, x := range tiles {
		pic, err := src.Tile(t.Context(), x.t)
		if err != nil || !bytes.Equal(pic.Data, x.data) {
			t.Fatalf("Tile(%v) = %d bytes, %v", x.t, len(pic.Data), err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pmtiles.NewWriter(f, pmtiles.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(tilescout.LayerInfo{}); !errors.Is(err, tilescout.ErrNotFound) {
		t.Errorf("Finish without tiles: %v, want ErrNotFound", err)
	}
	if err := w.Put(maptile.New(1, 0, 0), []byte("x")); !errors.Is(err, tilescout.ErrOutOfRange) {
		t.Errorf("Put off the grid: %v, want ErrOutOfRange", err)
	}
	if err := w.Put(maptile.New(0, 0, 0), nil); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Put of nothing: %v, want ErrBadInput", err)
	}
	for range 2 {
		if err := w.Put(maptile.New(1, 1, 1), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(tilescout.LayerInfo{Bound: source.World}); !errors.Is(err, tilescout.ErrBadInput) {
		t.Errorf("Finish with a tile twice: %v, want ErrBadInput", err)
	}
}

func TestVersionFollowsContent(t *testing.T) {
	path := write(t, tilescout.LayerInfo{Bound: source.World}, tile{maptile.New(0, 0, 0), sourcetest.Paint(maptile.Tile{}, 256)})
	first := open(t, path).Info().Version
	if again := open(t, path).Info().Version; again != first {
		t.Errorf("version of the same file: %q and %q", first, again)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path).Info().Version; again == first {
		t.Errorf("version of a changed file is still %q", again)
	}
}

func BenchmarkTile(b *testing.B) {
	generated := func(b *testing.B) string {
		pictures := make([][]byte, 64)
		for i := range pictures {
			pictures[i] = sourcetest.Paint(maptile.New(uint32(i), 0, 10), 256)
		}
		random := rand.New(rand.NewPCG(1, 2))
		var tiles []tile
		for z := range maptile.Zoom(9) {
			for x := range pmtiles.Order([]orb.Bound{source.World}, z) {
				tiles = append(tiles, tile{x, pictures[random.IntN(len(pictures))]})
			}
		}
		return write(b, tilescout.LayerInfo{Bound: source.World}, tiles...)
	}
	for _, c := range []struct {
		name string
		path func(*testing.B) string
		z    maptile.Zoom
	}{
		{"leaves_png", generated, 8},
		{"world_satellite_jpg", func(b *testing.B) string {
			return sourcetest.Shared(b, "geo", "pmtiles", "world_satellite_jpg.pmtiles")
		}, 3},
	} {
		b.Run(c.name, func(b *testing.B) {
			src := open(b, c.path(b))
			side := uint32(1) << c.z
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.Uint32(); pb.Next(); i++ {
					x := i * 2654435761 // spread over the zoom
					if _, err := src.Tile(context.Background(), maptile.New(x>>7%side, x>>17%side, c.z)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
		})
	}
}
