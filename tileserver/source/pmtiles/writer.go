package pmtiles

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver/source"
)

// leastLeaf is the number of entries from which a directory is worth a request of its own.
const leastLeaf = 4096

// WriterOptions of an archive; the zero value works.
type WriterOptions struct {
	Overlay bool // the tiles are meant to lie over others
}

// Writer writes an archive in one pass: room for header and root directory, then the tiles as they come, then metadata
// and leaf directories. Equal tiles are stored once. It is not safe for concurrent use.
//
// Tiles that come by rising TileID make the archive clustered, so that neighbours lie together and runs are merged;
// other orders work as well.
type Writer struct {
	file    io.WriterAt
	out     *bufio.Writer
	options WriterOptions

	entries directory
	offset  uint64 // of the next tile within the tile data
	stored  map[[16]byte]place
	types   map[string]int // number of contents by media type
	tiles   uint64
	rising  bool // so far
}

// place is where a content lies in the tile data.
type place struct {
	offset uint64
	length uint32
}

// File is what a Writer writes to: an *os.File that is empty.
type File interface {
	io.Writer
	io.WriterAt
}

// NewWriter begins an archive in an empty file. The caller closes the file, after Finish or to give up.
func NewWriter(f File, o WriterOptions) (*Writer, error) {
	w := &Writer{file: f, out: bufio.NewWriterSize(f, 1<<20), options: o, stored: map[[16]byte]place{}, types: map[string]int{}, rising: true}
	if _, err := w.out.Write(make([]byte, rootEnd)); err != nil {
		return nil, fmt.Errorf("pmtiles: write the header: %w", err)
	}
	return w, nil
}

// Put stores the picture of t, which must not have been stored before; Finish tells if it has.
func (w *Writer) Put(t maptile.Tile, data []byte) error {
	switch {
	case !source.InGrid(t, 0, source.MaxZoom):
		return fmt.Errorf("pmtiles: tile %d/%d/%d is not in the grid: %w", t.Z, t.X, t.Y, tilescout.ErrOutOfRange)
	case len(data) == 0 || len(data) > maxTile:
		return fmt.Errorf("pmtiles: tile %d/%d/%d of %d bytes, 1 to %d may be: %w", t.Z, t.X, t.Y, len(data), maxTile, tilescout.ErrBadInput)
	}
	sum := sha256.Sum256(data)
	key := [16]byte(sum[:16])
	at, ok := w.stored[key]
	if !ok {
		if _, err := w.out.Write(data); err != nil {
			return fmt.Errorf("pmtiles: write tile %d/%d/%d: %w", t.Z, t.X, t.Y, err)
		}
		at = place{w.offset, uint32(len(data))}
		w.stored[key] = at
		w.offset += uint64(len(data))
		w.types[source.Sniff(data)]++
	}
	w.tiles++
	w.append(entry{tileID(t), at.offset, at.length, 1})
	return nil
}

// append adds an entry, to the last one's run where it continues it.
func (w *Writer) append(e entry) {
	if n := len(w.entries); n > 0 {
		last := &w.entries[n-1]
		if last.id+uint64(last.run) == e.id && last.offset == e.offset && zoomOf(last.id) == zoomOf(e.id) {
			last.run += e.run
			return
		}
		w.rising = w.rising && e.id > last.id
	}
	w.entries = append(w.entries, e)
}

// Finish writes directories, metadata and header. info gives the texts and the bound; zooms are those of the tiles.
// An archive without tiles is ErrNotFound, a tile that was stored twice ErrBadInput.
func (w *Writer) Finish(info tilescout.LayerInfo) error {
	if len(w.entries) == 0 {
		return fmt.Errorf("pmtiles: there are no tiles to write: %w", tilescout.ErrNotFound)
	}
	if !sorted(w.entries) {
		return fmt.Errorf("pmtiles: a tile was stored twice: %w", tilescout.ErrBadInput)
	}
	if !w.rising {
		all := w.entries
		w.entries = w.entries[:0:0]
		for _, e := range all {
			w.append(e)
		}
	}
	root, leaves, err := w.directories()
	if err != nil {
		return err
	}
	last := w.entries[len(w.entries)-1]
	h := header{
		root: section{headerSize, uint64(len(root))}, tiles: section{rootEnd, w.offset},
		addressed: w.tiles, entries: uint64(len(w.entries)), contents: uint64(len(w.stored)),
		clustered: w.rising, internalCompression: compressionGzip, tileCompression: compressionNone, tileType: w.tileType(),
		minZoom: uint8(zoomOf(w.entries[0].id)), maxZoom: uint8(zoomOf(last.id)),
	}
	h.setBound(info.Bound, maptile.Zoom(h.minZoom+(h.maxZoom-h.minZoom)/2))
	metadata, err := w.metadata(info)
	if err != nil {
		return err
	}
	h.metadata = section{h.tiles.end(), uint64(len(metadata))}
	h.leaves = section{h.metadata.end(), uint64(len(leaves))}
	for _, b := range [][]byte{metadata, leaves} {
		if _, err := w.out.Write(b); err != nil {
			return fmt.Errorf("pmtiles: write the directories: %w", err)
		}
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("pmtiles: write the directories: %w", err)
	}
	if _, err := w.file.WriteAt(append(h.bytes(), root...), 0); err != nil {
		return fmt.Errorf("pmtiles: write the header: %w", err)
	}
	return nil
}

func (w *Writer) tileType() uint8 {
	best, most := uint8(typeUnknown), 0
	for mediaType, t := range map[string]uint8{tilescout.PNG: typePNG, tilescout.JPEG: typeJPEG, tilescout.WebP: typeWebP} {
		if n := w.types[mediaType]; n > most || n == most && n > 0 && t < best {
			best, most = t, n
		}
	}
	return best
}

func (w *Writer) metadata(info tilescout.LayerInfo) ([]byte, error) {
	kind := "baselayer"
	if w.options.Overlay {
		kind = "overlay"
	}
	m := map[string]string{"name": cmp.Or(info.Title, info.ID), "type": kind}
	for key, text := range map[string]string{"description": info.Description, "attribution": info.Attribution} {
		if text != "" {
			m[key] = text
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("pmtiles: metadata: %w", err)
	}
	return packed(b)
}

// directories returns the root and all leaves, packed. One directory where it fits, else leaves as small as a root
// that points to all of them allows.
func (w *Writer) directories() (root, leaves []byte, err error) {
	if len(w.entries) <= maxRoot {
		if root, err = packed(appendDirectory(nil, w.entries)); err != nil || len(root) <= maxRoot {
			return root, nil, err
		}
	}
	for size := leastLeaf; ; size += size / 4 {
		if size > maxEntries {
			return nil, nil, errors.New("pmtiles: too many tiles for one level of leaf directories")
		}
		var pointers directory
		leaves = leaves[:0]
		for part := range slices.Chunk(w.entries, size) {
			leaf, err := packed(appendDirectory(nil, part))
			if err != nil {
				return nil, nil, err
			}
			pointers = append(pointers, entry{part[0].id, uint64(len(leaves)), uint32(len(leaf)), runOfLeaf})
			leaves = append(leaves, leaf...)
		}
		if root, err = packed(appendDirectory(nil, pointers)); err != nil || len(root) <= maxRoot {
			return root, leaves, err
		}
	}
}

func packed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// TileID is the number of a tile in the order in which an archive keeps them: by zoom, then along a Hilbert curve.
func TileID(t maptile.Tile) uint64 { return tileID(t) }
