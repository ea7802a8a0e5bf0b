package source

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// headerPNG reads the first chunk (PNG §11.2.2). image/png would allocate a decoder of some KiB for it.
func headerPNG(data []byte) (width, height int, err error) {
	const end = 8 + 4 + 4 + 13 + 4 // signature, length, type, IHDR, CRC
	be := binary.BigEndian
	if len(data) < end || be.Uint32(data[8:]) != 13 || string(data[12:16]) != "IHDR" {
		return 0, 0, errors.New("no IHDR chunk")
	}
	if crc32.ChecksumIEEE(data[12:end-4]) != be.Uint32(data[end-4:]) {
		return 0, 0, errors.New("checksum of IHDR")
	}
	w, h, depth, colour := be.Uint32(data[16:]), be.Uint32(data[20:]), data[24], data[25]
	if w == 0 || h == 0 || w > 1<<31-1 || h > 1<<31-1 {
		return 0, 0, errors.New("a side that cannot be")
	}
	if !depthPNG(colour, depth) || data[26] != 0 || data[27] != 0 || data[28] > 1 {
		return 0, 0, errors.New("a combination of depth, colour type and methods that is not defined")
	}
	return int(w), int(h), nil
}

// depthPNG tells whether a colour type allows a bit depth (PNG table 11.1).
func depthPNG(colour, depth byte) bool {
	switch colour {
	case 0: // grey
		return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16
	case 3: // palette
		return depth == 1 || depth == 2 || depth == 4 || depth == 8
	case 2, 4, 6: // RGB, grey with alpha, RGBA
		return depth == 8 || depth == 16
	}
	return false
}

// headerWebP reads the size of the picture itself. An extended file (VP8X) states the size of its canvas too, and a
// decoder that trusts it allocates by the other: both must agree.
func headerWebP(data []byte) (width, height int, err error) {
	if chunksWebP(data) > maxChunks {
		return 0, 0, errors.New("too many chunks")
	}
	canvas := false
	for at := uint64(12); at+8 <= uint64(len(data)); {
		kind, size := string(data[at:at+4]), uint64(binary.LittleEndian.Uint32(data[at+4:]))
		if size > uint64(len(data))-at-8 {
			return 0, 0, ErrPictureTruncated
		}
		body := data[at+8 : at+8+size]
		var w, h int
		switch kind {
		case "VP8X":
			if canvas || len(body) < 10 {
				return 0, 0, errors.New("VP8X chunk that cannot be read")
			}
			if body[0]&2 != 0 {
				return 0, 0, errors.New("an animation")
			}
			canvas, width, height = true, 1+int(uint24(body[4:])), 1+int(uint24(body[7:]))
			at += 8 + (size+1)&^1
			continue
		case "VP8 ":
			if len(body) < 10 || body[0]&1 != 0 || body[3] != 0x9d || body[4] != 0x01 || body[5] != 0x2a {
				return 0, 0, errors.New("VP8 chunk that begins no key frame")
			}
			w, h = int(binary.LittleEndian.Uint16(body[6:])&0x3fff), int(binary.LittleEndian.Uint16(body[8:])&0x3fff)
		case "VP8L":
			if len(body) < 5 || body[0] != 0x2f || body[4]>>5 != 0 {
				return 0, 0, errors.New("VP8L chunk without its signature")
			}
			bits := binary.LittleEndian.Uint32(body[1:])
			w, h = 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff)
		default:
			if !canvas { // a simple file has one chunk
				return 0, 0, errors.New("no picture chunk")
			}
			at += 8 + (size+1)&^1
			continue
		}
		if canvas && (w != width || h != height) {
			return 0, 0, errors.New("canvas and picture differ in size")
		}
		return w, h, nil
	}
	return 0, 0, errors.New("no picture chunk")
}

// maxChunks of a WebP: a picture, its alpha, and what cameras and editors add are ten; a decoder notes each of them.
const maxChunks = 256

// chunksWebP counts chunks, at most one beyond maxChunks.
func chunksWebP(data []byte) int {
	n := 0
	for at := uint64(12); at+8 <= uint64(len(data)) && n <= maxChunks; n++ {
		at += 8 + (uint64(binary.LittleEndian.Uint32(data[at+4:]))+1)&^1
	}
	return n
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }
