// Package safetensors reads the header of a safetensors file: 8 bytes of its length (little-endian), a JSON object of
// tensors, then their bytes without holes. https://github.com/huggingface/safetensors#format
//
// It is stricter than the reference in one thing: a name that is there twice, empty or with a control character is refused.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
	"github.com/tilescout/tilescout/internal/reject"
)

// ErrHeader says that a file is no safetensors file, is cut short, or that its header is larger than MaxHeader.
var ErrHeader = reject.New("checkpoint", "ErrSafetensorsHeader", "not a whole safetensors file")

// MaxHeader bounds the header, in bytes; the reference allows 100 MB, the header of CLIP ViT-H/14 has 110 kB.
const MaxHeader = 8 << 20

// types by the name in the header. Others (float8, complex) are refused when they are met.
var types = map[string]tensor.Type{
	"F32": tensor.Float32, "F16": tensor.Float16, "BF16": tensor.BFloat16, "F64": tensor.Float64,
	"I64": tensor.Int64, "I32": tensor.Int32, "I16": tensor.Int16, "I8": tensor.Int8, "U8": tensor.Uint8, "BOOL": tensor.Bool,
}

// Read returns the tensors of a file of size bytes by name. Their data stays in r.
func Read(r io.ReaderAt, size int64) (map[string]tensor.Tensor, error) {
	var head [8]byte
	if size < 8 {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrHeader)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("length of the header: %w", err)
	}
	length := binary.LittleEndian.Uint64(head[:])
	if length < 2 || length > MaxHeader {
		return nil, fmt.Errorf("header of %d bytes, want 2 to %d: %w", length, MaxHeader, ErrHeader)
	}
	if int64(length) > size-8 {
		return nil, fmt.Errorf("header of %d bytes in a file of %d: %w", length, size, ErrHeader)
	}
	raw := make([]byte, length)
	if n, err := r.ReadAt(raw, 8); n < len(raw) {
		return nil, fmt.Errorf("header: %w", errors.Join(err, ErrHeader))
	}
	entries, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	start := 8 + int64(length)
	if err := covered(entries, size-start); err != nil {
		return nil, err
	}
	all := make(map[string]tensor.Tensor, len(entries))
	for _, e := range entries {
		t, err := tensor.New(e.kind, e.shape, io.NewSectionReader(r, start+e.begin, e.end-e.begin))
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		all[e.name] = t
	}
	return all, nil
}

type entry struct {
	name       string
	kind       tensor.Type
	shape      []int
	begin, end int64
}

// covered checks that the tensors lie one after the other and fill the data exactly, as writers leave them: then none
// overlaps another or the file's end, and nothing hides between.
func covered(entries []entry, size int64) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := int64(0)
	for _, e := range entries {
		if e.end < e.begin || e.end > size {
			return fmt.Errorf("tensor %q at bytes %d to %d of %d: %w", e.name, e.begin, e.end, size, tensor.ErrRange)
		}
		if e.begin != at {
			return fmt.Errorf("tensor %q starts at byte %d where the one before ends at %d: overlap or hole: %w", e.name, e.begin, at, tensor.ErrRange)
		}
		at = e.end
	}
	if at != size {
		return fmt.Errorf("tensors end at byte %d of %d: %w", at, size, tensor.ErrRange)
	}
	return nil
}

// parseHeader walks the object token by token: encoding/json would keep the last of two equal names without a word.
func parseHeader(raw []byte) ([]entry, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("header is not UTF-8: %w", ErrHeader)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("header is not a JSON object: %w", ErrHeader)
	}
	var entries []entry
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("header is not JSON (%v): %w", err, ErrHeader)
		}
		if seen[name] {
			return nil, fmt.Errorf("tensor %.80q: %w", name, tensor.ErrDuplicate)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("header at %.80q: %v: %w", name, err, ErrHeader)
		}
		if name == "__metadata__" {
			var metadata map[string]string
			if err := json.Unmarshal(value, &metadata); err != nil {
				return nil, fmt.Errorf("__metadata__: %v: %w", err, ErrHeader)
			}
			continue
		}
		if len(entries) == tensor.MaxTensors {
			return nil, fmt.Errorf("more than %d: %w", tensor.MaxTensors, tensor.ErrTooMany)
		}
		e, err := parseEntry(name, value)
		if err != nil {
			return nil, fmt.Errorf("tensor %.80q: %w", name, err)
		}
		entries = append(entries, e)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("header ends early: %v: %w", err, ErrHeader)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("header goes on after its object: %w", ErrHeader)
	}
	return entries, nil
}

func parseEntry(name string, raw []byte) (entry, error) {
	if name == "" || len(name) > tensor.MaxName || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return entry{}, tensor.ErrName
	}
	var v struct {
		DType   *string  `json:"dtype"`
		Shape   *[]int64 `json:"shape"`
		Offsets *[]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return entry{}, fmt.Errorf("%v: %w", err, ErrHeader)
	}
	if v.DType == nil || v.Shape == nil || v.Offsets == nil || len(*v.Offsets) != 2 {
		return entry{}, fmt.Errorf("wants dtype, shape and two data_offsets: %w", ErrHeader)
	}
	kind, ok := types[*v.DType]
	if !ok {
		return entry{}, fmt.Errorf("dtype %.20q: %w", *v.DType, tensor.ErrType)
	}
	if len(*v.Shape) > tensor.MaxRank {
		return entry{}, fmt.Errorf("%d axes: %w", len(*v.Shape), tensor.ErrShape)
	}
	e := entry{name: name, kind: kind, begin: (*v.Offsets)[0], end: (*v.Offsets)[1]}
	for _, n := range *v.Shape {
		if n < 0 || int64(int(n)) != n {
			return entry{}, fmt.Errorf("size %d: %w", n, tensor.ErrShape)
		}
		e.shape = append(e.shape, int(n))
	}
	if e.begin < 0 || e.end < e.begin {
		return entry{}, fmt.Errorf("data_offsets %d, %d: %w", e.begin, e.end, tensor.ErrRange)
	}
	return e, nil
}
