package index

import (
	"hash/crc32"
)

// A record of the write-ahead log is
//
//	length of the payload u32, CRC-32C u32, sequence u64, type u8, payload
//
// with the checksum over sequence, type and payload, seeded with the header's, so that a record of another log never
// passes for one of this. A log is written by one opening of the store and then only read: after whatever went wrong
// with it, the next write begins a new one.
const (
	recordHead = 17

	recordRow   = 1 // code u64, half floats
	recordBlank = 2 // code u64
)

// maxRecord bounds what a length field can ask for.
const maxRecord = recordHead + 8 + 2*MaxDimension

func appendRecord(b []byte, seed uint32, seq, code uint64, half []uint16) []byte {
	at := len(b)
	typ := byte(recordBlank)
	if half != nil {
		typ = recordRow
	}
	b = le.AppendUint32(b, uint32(8+2*len(half)))
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint64(b, seq)
	b = append(b, typ)
	b = le.AppendUint64(b, code)
	for _, h := range half {
		b = le.AppendUint16(b, h)
	}
	le.PutUint32(b[at+4:], crc32.Update(seed, castagnoli, b[at+8:]))
	return b
}

// replay hands every good record of a log to apply: row is the payload's half floats, nil for a blank tile. It
// returns the number of bad stretches that have good records after them. A bad end is none of these: that is what a
// crash in the middle of a write leaves, and nothing of it was acknowledged.
func replay(log []byte, want header, apply func(seq, code uint64, row []byte)) (gaps int, err error) {
	if _, err := parseHeader(log, want); err != nil {
		return 0, err
	}
	seed := le.Uint32(log[124:])
	b := log[headerSize:]
	var last uint64
	bad := false
	for len(b) >= recordHead+8 {
		n, ok := goodRecord(b, seed, int(want.dimension))
		seq := le.Uint64(b[8:])
		if !ok || seq <= last {
			bad = true
			b = b[1:] // look for the next good one, byte by byte
			continue
		}
		if bad {
			gaps++
			bad = false
		}
		last = seq
		var row []byte
		if b[16] == recordRow {
			row = b[recordHead+8 : n]
		}
		apply(seq, le.Uint64(b[recordHead:]), row)
		b = b[n:]
	}
	return gaps, nil
}

// goodRecord returns the length of the record at the start of b and whether it is whole and right.
func goodRecord(b []byte, seed uint32, dimension int) (int, bool) {
	payload := 8
	switch b[16] {
	case recordRow:
		payload += 2 * dimension
	case recordBlank:
	default:
		return 0, false
	}
	n := recordHead + payload
	if le.Uint32(b) != uint32(payload) || len(b) < n {
		return 0, false
	}
	return n, crc32.Update(seed, castagnoli, b[8:n]) == le.Uint32(b[4:])
}
