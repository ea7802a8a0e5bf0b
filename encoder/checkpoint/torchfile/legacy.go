package torchfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// magic is the number in the first of the five pickles of a file from before PyTorch 1.6, as LONG1 has it.
const magic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

// readLegacy reads five pickles in a row (magic number, protocol version, system information, the object, the order of
// its storages), then each storage: the number of its elements in 8 bytes, and the elements.
func readLegacy(r io.ReaderAt, size int64) (File, error) {
	raw := make([]byte, min(size, maxPickle+4096))
	if n, err := r.ReadAt(raw, 0); n < len(raw) {
		return File{}, fmt.Errorf("read: %v: %w", err, ErrPickle)
	}
	var values [5]any
	machines := [5]*machine{}
	at := 0
	for i := range values {
		m := newMachine(raw[at:])
		v, err := m.run()
		if err != nil {
			return File{}, fmt.Errorf("pickle %d of 5: %w", i+1, err)
		}
		if i == 0 && v != long(magic) {
			return File{}, fmt.Errorf("a pickle without PyTorch's magic number: %w", ErrPickle)
		}
		values[i], machines[i] = v, m
		at += m.at
	}
	if v, ok := values[1].(int64); !ok || v != 1001 {
		return File{}, fmt.Errorf("protocol version %v, want 1001: %w", values[1], ErrPickle)
	}
	big := false
	if info, ok := values[2].(*dict); ok {
		if little, ok := info.get("little_endian"); ok {
			big = little == false
		}
	}
	keys, ok := values[4].(*list)
	if !ok {
		return File{}, fmt.Errorf("no list of storages: %w", ErrPickle)
	}
	found, err := legacyStorages(r, size, int64(at), keys.items, machines[3].storages, big)
	if err != nil {
		return File{}, err
	}
	all, err := tensors(values[3], func(s *storage) (tensor.Data, error) {
		if data, ok := found[s.key]; ok {
			return data, nil
		}
		return nil, fmt.Errorf("no storage %.40q: %w", s.key, ErrPickle)
	}, big)
	return File{Tensors: all, Format: Legacy}, err
}

// legacyStorages finds each storage's bytes, one after the other from at on.
func legacyStorages(r io.ReaderAt, size, at int64, keys []any, declared map[string]*storage, big bool) (map[string]*io.SectionReader, error) {
	found := make(map[string]*io.SectionReader, min(len(keys), tensor.MaxTensors))
	for _, k := range keys {
		key, _ := k.(string)
		s := declared[key]
		if s == nil {
			return nil, fmt.Errorf("storage %.40q has no type: %w", key, ErrPickle)
		}
		if found[key] != nil {
			return nil, fmt.Errorf("storage %.40q is there twice: %w", key, ErrPickle)
		}
		var head [8]byte
		if at > size-8 {
			return nil, fmt.Errorf("the file ends before storage %.40q: %w", key, tensor.ErrRange)
		}
		if n, err := r.ReadAt(head[:], at); n < len(head) {
			return nil, fmt.Errorf("storage %.40q: %w", key, err)
		}
		at += 8
		count := binary.LittleEndian.Uint64(head[:])
		if big {
			count = binary.BigEndian.Uint64(head[:])
		}
		if count > math.MaxInt64/8 || int64(count)*int64(s.kind.Size()) > size-at {
			return nil, fmt.Errorf("storage %.40q of %d × %s in the %d bytes that are left: %w", key, count, s.kind, size-at, tensor.ErrRange)
		}
		n := int64(count) * int64(s.kind.Size())
		found[key] = io.NewSectionReader(r, at, n)
		at += n
	}
	if at != size {
		return nil, fmt.Errorf("%d bytes after the last storage: %w", size-at, ErrPickle)
	}
	return found, nil
}
