package msgpack

import (
	"errors"
	"fmt"
	"io"
)

type kind uint8

const (
	kindOther kind = iota // a value of skip bytes that says nothing here: nil, bool, float, binary
	kindText              // skip bytes of text
	kindInt               // n
	kindList              // n values
	kindMap               // n pairs
	kindExt               // extension ext of n bytes
)

// head is the first byte of a value with the length that follows it.
type head struct {
	kind kind
	n    int64
	skip int64 // bytes of the value after its head
	ext  int8
}

// bytes reads the next n bytes; n is small.
func (p *parser) bytes(n int) ([]byte, error) {
	if int64(n) > p.end-p.at {
		return nil, fmt.Errorf("the file ends at byte %d: %w", p.end, ErrMsgpack)
	}
	b := make([]byte, n)
	if got, err := p.r.ReadAt(b, p.at); got < n {
		if errors.Is(err, io.EOF) {
			err = ErrMsgpack
		}
		return nil, fmt.Errorf("byte %d: %w", p.at, err)
	}
	p.at += int64(n)
	return b, nil
}

func (p *parser) uint(n int) (int64, error) {
	b, err := p.bytes(n)
	v := uint64(0)
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	if v > 1<<62 {
		return 0, fmt.Errorf("number %d at byte %d: %w", v, p.at, ErrMsgpack)
	}
	return int64(v), err
}

// head reads the head of the next value.
func (p *parser) head() (head, error) {
	b, err := p.bytes(1)
	if err != nil {
		return head{}, err
	}
	c := b[0]
	switch {
	case c < 0x80:
		return head{kind: kindInt, n: int64(c)}, nil
	case c < 0x90:
		return head{kind: kindMap, n: int64(c & 0x0f)}, nil
	case c < 0xa0:
		return head{kind: kindList, n: int64(c & 0x0f)}, nil
	case c < 0xc0:
		return head{kind: kindText, skip: int64(c & 0x1f)}, nil
	case c >= 0xe0:
		return head{kind: kindInt, n: int64(int8(c))}, nil
	}
	return p.long(c)
}

// long reads the heads that carry a length: the table of the specification.
func (p *parser) long(c byte) (head, error) {
	var h head
	var err error
	switch c {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
	case 0xc4, 0xc5, 0xc6: // binary
		h.skip, err = p.uint(1 << (c - 0xc4))
	case 0xc7, 0xc8, 0xc9: // extension
		h.kind = kindExt
		if h.n, err = p.uint(1 << (c - 0xc7)); err == nil {
			err = p.extensionType(&h)
		}
	case 0xca, 0xcb: // float
		h.skip = 4 << (c - 0xca)
	case 0xcc, 0xcd, 0xce, 0xcf: // unsigned
		h.kind = kindInt
		h.n, err = p.uint(1 << (c - 0xcc))
	case 0xd0, 0xd1, 0xd2, 0xd3: // signed; sizes are never negative
		h.kind = kindInt
		h.n, err = p.uint(1 << (c - 0xd0))
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extension of a fixed length
		h.kind, h.n = kindExt, 1<<(c-0xd4)
		err = p.extensionType(&h)
	case 0xd9, 0xda, 0xdb: // text
		h.kind = kindText
		h.skip, err = p.uint(1 << (c - 0xd9))
	case 0xdc, 0xdd: // list
		h.kind = kindList
		h.n, err = p.uint(2 << (c - 0xdc))
	case 0xde, 0xdf: // map
		h.kind = kindMap
		h.n, err = p.uint(2 << (c - 0xde))
	default:
		err = fmt.Errorf("byte %#02x at %d: %w", c, p.at-1, ErrMsgpack)
	}
	return h, err
}

func (p *parser) extensionType(h *head) error {
	b, err := p.bytes(1)
	if err == nil {
		h.ext = int8(b[0])
	}
	return err
}
