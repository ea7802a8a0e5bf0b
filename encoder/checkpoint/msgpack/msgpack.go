// Package msgpack reads the parameters that flax.serialization writes: nested maps of names in MessagePack
// (https://github.com/msgpack/msgpack/blob/master/spec.md), whose leaves are arrays as extension type 1 or, above 1 GiB,
// maps of chunks. Only the structure is read; the arrays' bytes stay in the file.
package msgpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
	"github.com/tilescout/tilescout/internal/reject"
)

// ErrMsgpack says that a file is no flax checkpoint or is cut short.
var ErrMsgpack = reject.New("checkpoint", "ErrMsgpack", "not a whole flax msgpack file")

// Limits. CLIP ViT-H/14 is 6 maps deep; names are as long as in the source of the model.
const (
	maxDepth  = 16
	maxChunks = 4096
	maxNodes  = 100_000
)

// Extension types of flax.serialization.
const (
	extArray  = 1
	extScalar = 3
)

// Sniff reports whether a file with these first bytes may be one: a map, with a text as its first key.
func Sniff(first []byte) bool {
	if len(first) < 2 {
		return false
	}
	isText := func(b byte) bool { return b&0xe0 == 0xa0 || b >= 0xd9 && b <= 0xdb }
	switch {
	case first[0]&0xf0 == 0x80 && first[0] != 0x80:
		return isText(first[1])
	case first[0] == 0xde && len(first) > 3:
		return isText(first[3])
	}
	return false
}

// Read returns the arrays of a file of size bytes by name, dots between the parts. Their data stay in r.
func Read(ctx context.Context, r io.ReaderAt, size int64) (map[string]tensor.Tensor, error) {
	p := &parser{ctx: ctx, r: r, end: size, all: make(map[string]tensor.Tensor)}
	if err := p.node("", 0); err != nil {
		return nil, err
	}
	if p.at != size {
		return nil, fmt.Errorf("%d bytes after the end: %w", size-p.at, ErrMsgpack)
	}
	if len(p.all) == 0 {
		return nil, fmt.Errorf("no array in it: %w", ErrMsgpack)
	}
	return p.all, nil
}

type parser struct {
	ctx   context.Context // of Read, whose loop this is
	r     io.ReaderAt
	at    int64
	end   int64
	nodes int
	all   map[string]tensor.Tensor
}

// node reads one value; arrays are added under the name.
func (p *parser) node(name string, depth int) error {
	if p.nodes++; depth > maxDepth || p.nodes > maxNodes {
		return fmt.Errorf("nested too deeply or too many values: %w", ErrMsgpack)
	}
	if p.nodes%1024 == 0 && p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	h, err := p.head()
	if err != nil {
		return err
	}
	switch h.kind {
	case kindMap:
		return p.children(name, h.n, depth)
	case kindExt:
		return p.array(name, h)
	case kindOther, kindText, kindInt: // settings beside the weights
		p.at += h.skip
		return p.inside()
	}
	return fmt.Errorf("%.80q is a list, where flax has maps and arrays: %w", name, ErrMsgpack)
}

func (p *parser) inside() error {
	if p.at > p.end {
		return fmt.Errorf("the file ends at byte %d: %w", p.end, ErrMsgpack)
	}
	return nil
}

// children reads a map's n entries, or an array that is in chunks.
func (p *parser) children(name string, n int64, depth int) error {
	if n > (p.end-p.at)/2 || n > maxNodes {
		return fmt.Errorf("map of %d entries in %d bytes: %w", n, p.end-p.at, ErrMsgpack)
	}
	for i := range n {
		key, err := p.text()
		if err != nil {
			return err
		}
		if i == 0 && key == "__msgpack_chunked_array__" {
			return p.chunked(name, n)
		}
		if key == "" || len(name)+len(key) >= tensor.MaxName || strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return fmt.Errorf("%.80q: %w", key, tensor.ErrName)
		}
		child := key
		if name != "" {
			child = name + "." + key
		}
		if err := p.node(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) add(name string, t tensor.Tensor) error {
	if len(p.all) == tensor.MaxTensors {
		return fmt.Errorf("more than %d: %w", tensor.MaxTensors, tensor.ErrTooMany)
	}
	if _, twice := p.all[name]; twice {
		return fmt.Errorf("%.80q: %w", name, tensor.ErrDuplicate)
	}
	p.all[name] = t
	return nil
}

// array reads an extension of n bytes that starts here.
func (p *parser) array(name string, h head) error {
	kind, shape, data, err := p.extension(h)
	if err != nil {
		return fmt.Errorf("array %.80q: %w", name, err)
	}
	t, err := tensor.New(kind, shape, data)
	if err != nil {
		return fmt.Errorf("array %.80q: %w", name, err)
	}
	return p.add(name, t)
}

// extension reads the payload of an array: a list of shape, name of the type, and bytes in reading order.
func (p *parser) extension(h head) (kind tensor.Type, shape []int, data *io.SectionReader, err error) {
	if h.ext != extArray && h.ext != extScalar {
		return 0, nil, nil, fmt.Errorf("extension type %d: %w", h.ext, ErrMsgpack)
	}
	stop := p.at + h.n
	if h.n > p.end-p.at {
		return 0, nil, nil, fmt.Errorf("%d bytes in the %d that are left: %w", h.n, p.end-p.at, tensor.ErrRange)
	}
	fail := func(what string) (tensor.Type, []int, *io.SectionReader, error) {
		return 0, nil, nil, fmt.Errorf("%s: %w", what, ErrMsgpack)
	}
	list, err := p.head()
	if err != nil {
		return 0, nil, nil, err
	}
	if list.kind != kindList || list.n != 3 {
		return fail("payload is no list of shape, type and bytes")
	}
	axes, err := p.head()
	if err != nil {
		return 0, nil, nil, err
	}
	if axes.kind != kindList || axes.n > tensor.MaxRank {
		return fail("no shape")
	}
	for range axes.n {
		size, err := p.integer()
		if err != nil {
			return 0, nil, nil, err
		}
		shape = append(shape, size)
	}
	name, err := p.text()
	if err != nil {
		return 0, nil, nil, err
	}
	kind, ok := tensor.ParseType(name)
	if !ok {
		return 0, nil, nil, fmt.Errorf("type %.40q: %w", name, tensor.ErrType)
	}
	raw, err := p.head()
	if err != nil {
		return 0, nil, nil, err
	}
	if raw.kind != kindOther && raw.kind != kindText || raw.skip > p.end-p.at || p.at+raw.skip != stop {
		return fail("bytes do not fill the payload")
	}
	data = io.NewSectionReader(p.r, p.at, raw.skip)
	p.at = stop
	return kind, shape, data, nil
}

// chunked reads the rest of a map of n entries whose first key said that it is an array in pieces.
func (p *parser) chunked(name string, n int64) error {
	if n != 3 {
		return fmt.Errorf("array %.80q in chunks has %d entries, want 3: %w", name, n, ErrMsgpack)
	}
	if h, err := p.head(); err != nil || h.kind != kindOther || h.skip != 0 { // true
		return fmt.Errorf("array %.80q in chunks: %w", name, errors.Join(err, ErrMsgpack))
	}
	var shape []int
	var pieces chunks
	kind := tensor.Type(0)
	for range 2 {
		key, err := p.text()
		if err != nil {
			return err
		}
		switch key {
		case "shape":
			sizes := make(map[int]int)
			if err := p.numbered(tensor.MaxRank, func(i int) error {
				size, err := p.integer()
				sizes[i] = size
				return err
			}); err != nil {
				return fmt.Errorf("shape of %.80q: %w", name, err)
			}
			for i := range len(sizes) {
				shape = append(shape, sizes[i])
			}
		case "chunks":
			parts := make(map[int]*io.SectionReader)
			if err := p.numbered(maxChunks, func(i int) error {
				h, err := p.head()
				if err != nil {
					return err
				}
				if h.kind != kindExt {
					return fmt.Errorf("chunk %d is no array: %w", i, ErrMsgpack)
				}
				k, _, data, err := p.extension(h)
				if err == nil && kind != 0 && k != kind {
					err = fmt.Errorf("chunk %d is %s, others %s: %w", i, k, kind, ErrMsgpack)
				}
				kind, parts[i] = k, data
				return err
			}); err != nil {
				return fmt.Errorf("chunks of %.80q: %w", name, err)
			}
			for i := range len(parts) { // by number, not by text: 10 comes after 9
				pieces.add(parts[i])
			}
		default:
			return fmt.Errorf("array %.80q in chunks has an entry %.40q: %w", name, key, ErrMsgpack)
		}
	}
	if kind == 0 {
		return fmt.Errorf("array %.80q without chunks: %w", name, ErrMsgpack)
	}
	t, err := tensor.New(kind, shape, &pieces)
	if err != nil {
		return fmt.Errorf("array %.80q: %w", name, err)
	}
	return p.add(name, t)
}

// numbered reads a map whose keys are the numbers from 0 on, in any order, each once.
func (p *parser) numbered(limit int, value func(i int) error) error {
	h, err := p.head()
	if err != nil {
		return err
	}
	if h.kind != kindMap || h.n > int64(limit) {
		return fmt.Errorf("want a map of at most %d: %w", limit, ErrMsgpack)
	}
	seen := make([]bool, h.n)
	for range h.n {
		key, err := p.text()
		if err != nil {
			return err
		}
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(seen) || seen[i] || strconv.Itoa(i) != key {
			return fmt.Errorf("entry %.20q of %d: %w", key, len(seen), ErrMsgpack)
		}
		seen[i] = true
		if err := value(i); err != nil {
			return err
		}
	}
	return nil
}

// text reads a string of at most tensor.MaxName bytes.
func (p *parser) text() (string, error) {
	h, err := p.head()
	if err != nil {
		return "", err
	}
	if h.kind != kindText || h.skip > tensor.MaxName {
		return "", fmt.Errorf("no name at byte %d: %w", p.at, ErrMsgpack)
	}
	b, err := p.bytes(int(h.skip))
	return string(b), err
}

// integer reads a size.
func (p *parser) integer() (int, error) {
	h, err := p.head()
	if err != nil {
		return 0, err
	}
	if h.kind != kindInt || h.n < 0 || h.n > math.MaxInt32 {
		return 0, fmt.Errorf("no size at byte %d: %w", p.at, tensor.ErrShape)
	}
	return int(h.n), nil
}

// chunks are the pieces of one array, one after the other.
type chunks struct {
	parts []*io.SectionReader
	ends  []int64
}

func (c *chunks) add(part *io.SectionReader) {
	c.parts, c.ends = append(c.parts, part), append(c.ends, c.Size()+part.Size())
}

// Size implements tensor.Data.
func (c *chunks) Size() int64 {
	if len(c.ends) == 0 {
		return 0
	}
	return c.ends[len(c.ends)-1]
}

// ReadAt implements io.ReaderAt.
func (c *chunks) ReadAt(b []byte, at int64) (int, error) {
	done := 0
	i, _ := slices.BinarySearch(c.ends, at+1) // the first that ends behind at
	for ; i < len(c.parts) && done < len(b); i++ {
		start := c.ends[i] - c.parts[i].Size()
		n, err := c.parts[i].ReadAt(b[done:min(len(b), done+int(min(c.ends[i]-at, int64(len(b)))))], at-start)
		done, at = done+n, at+int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
	}
	if done < len(b) {
		return done, io.EOF
	}
	return done, nil
}
