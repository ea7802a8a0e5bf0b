package pmtiles

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/internal/budget"
)

// archive finds tiles in an object.
type archive struct {
	object Object
	header header // with the limits of its directories
	tile   int    // bytes at most
	root   directory
	leaves *cache.Cache[section, directory]
	memory *budget.Budget // of what is unpacked
}

const (
	ownMemory = 96 << 20  // where nobody gives a budget
	leastLoad = 64 << 10  // bytes that the load of a small directory counts for
	growth    = 1000      // times that packed data may grow, nearly
	longRead  = 256 << 10 // bytes of which memory is held before they are read, and not only after
)

// openArchive reads header and root directory, with one request where the object is remote.
func openArchive(ctx context.Context, file Object, o Options) (a *archive, head, root []byte, err error) {
	first := make([]byte, min(file.Size(), rootEnd))
	if err := read(ctx, file, first, 0); err != nil {
		return nil, nil, nil, err
	}
	if o.Memory == nil {
		o.Memory = budget.New(ownMemory)
	}
	a = &archive{object: file, memory: o.Memory, tile: cmp.Or(max(o.TileBytes, 0), maxTile), leaves: cache.New(cmp.Or(o.DirectoryBytes, 32<<20), func(_ section, d directory) int { return d.size() })}
	if a.header, err = parseHeader(first, file.Size()); err != nil {
		return nil, nil, nil, err
	}
	a.header.limits = o.Directories.withDefaults()
	if n, most := a.header.metadata.length, a.header.limits.Metadata; n > uint64(most) {
		return nil, nil, nil, fmt.Errorf("metadata of %d bytes, the limit is %d: %w", n, most, ErrMetadata)
	}
	r := a.header.root
	if r.end() <= uint64(len(first)) {
		root = first[r.offset:r.end()]
	} else {
		root = make([]byte, r.length) // at most maxRoot
		if err := read(ctx, file, root, r.offset); err != nil {
			return nil, nil, nil, err
		}
	}
	if a.root, err = a.directory(root); err != nil {
		return nil, nil, nil, fmt.Errorf("root directory: %w", err)
	}
	return a, first[:headerSize], root, nil
}

func (a *archive) directory(packed []byte) (directory, error) {
	b, err := unpack(packed, a.header.internalCompression, a.header.limits.Bytes, ErrDirectorySize)
	if err != nil {
		return nil, err
	}
	return parseDirectory(b, &a.header)
}

// leaf returns the leaf directory that e points to. Equal questions at the same time are one read.
func (a *archive) leaf(ctx context.Context, e entry) (directory, error) {
	key := section{e.offset, uint64(e.length)}
	if d, ok := a.leaves.Peek(key); ok { // without the closure below, which would be garbage for each tile
		return d, nil
	}
	return a.leaves.Get(ctx, key, func(ctx context.Context) (directory, error) {
		l := a.header.limits
		if key.length > uint64(l.Bytes) {
			return nil, fmt.Errorf("leaf directory of %d bytes, the limit is %d: %w", key.length, l.Bytes, ErrDirectorySize)
		}
		packed, release, err := a.hold(ctx, section{a.header.leaves.offset + key.offset, key.length}, 2*int64(l.Bytes)+int64(l.Entries)*entrySize)
		if err != nil {
			return nil, err
		}
		defer release()
		d, err := a.directory(packed)
		if err != nil {
			return nil, fmt.Errorf("leaf directory at %d: %w", key.offset, err)
		}
		return d, nil
	})
}

// hold reads a section and holds the memory of what it becomes, at most so much, until release. Memory is not held while
// a slow server is waited for, unless the section itself is long.
func (a *archive) hold(ctx context.Context, s section, most int64) (packed []byte, release func(), err error) {
	weight := min(max(leastLoad, int64(s.length)*growth), most)
	if s.length > longRead {
		if release, err = a.memory.Share(ctx, weight); err != nil {
			return nil, nil, err
		}
	}
	packed = make([]byte, s.length)
	err = read(ctx, a.object, packed, s.offset)
	if err == nil && release == nil {
		release, err = a.memory.Share(ctx, weight)
	}
	if err != nil {
		if release != nil {
			release()
		}
		return nil, nil, err
	}
	return packed, release, nil
}

// find returns where the tile with an id lies in the tile data: ErrNotFound where there is none.
func (a *archive) find(ctx context.Context, id uint64) (entry, error) {
	d := a.root
	for depth := 0; ; depth++ {
		e, ok := d.find(id)
		if !ok {
			return entry{}, errNoTile
		}
		if e.run != runOfLeaf {
			return e, nil
		}
		if depth == a.header.limits.Depth {
			return entry{}, fmt.Errorf("more than %d levels: %w", depth, ErrLeafDepth)
		}
		var err error
		if d, err = a.leaf(ctx, e); err != nil {
			return entry{}, err
		}
	}
}

// edge returns the first or the last directory of tiles, going down one side.
func (a *archive) edge(ctx context.Context, last bool) (directory, error) {
	d := a.root
	for depth := 0; ; depth++ {
		e := d[0]
		if last {
			e = d[len(d)-1]
		}
		if e.run != runOfLeaf {
			return d, nil
		}
		if depth == a.header.limits.Depth {
			return nil, fmt.Errorf("more than %d levels: %w", depth, ErrLeafDepth)
		}
		var err error
		if d, err = a.leaf(ctx, e); err != nil {
			return nil, err
		}
	}
}

// content returns the stored bytes of an entry, unpacked.
func (a *archive) content(ctx context.Context, e entry) ([]byte, error) {
	if int64(e.length) > int64(a.tile) {
		return nil, fmt.Errorf("tile of %d bytes, the limit is %d: %w", e.length, a.tile, ErrTileSize)
	}
	data := make([]byte, e.length)
	if err := read(ctx, a.object, data, a.header.tiles.offset+e.offset); err != nil {
		return nil, err
	}
	compression := a.header.tileCompression
	if len(data) > 1 && data[0] == 0x1f && data[1] == 0x8b {
		compression = compressionGzip // some writers pack pictures and do not say so
	} else if compression == compressionGzip {
		compression = compressionNone // and some say so and do not
	}
	if compression != compressionNone && compression != compressionUnknown {
		release, err := a.memory.Share(ctx, min(int64(a.tile), int64(len(data))*growth))
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return unpack(data, compression, a.tile, ErrTileSize)
}

var (
	errNoTile = fmt.Errorf("no such tile: %w", tilescout.ErrNotFound)
	errClosed = fmt.Errorf("the source is closed: %w", tilescout.ErrUnavailable)
)
