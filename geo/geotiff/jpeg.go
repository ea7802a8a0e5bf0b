package geotiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
)

// decodeJPEG decodes one JPEG tile or strip. Tables are those of tag 347, nil if the block has its own. The
// frame is held against the block before anything is decoded. Colour transforms are decided by the TIFF, not
// by what the stream says of itself: the stream's own application markers are dropped.
func decodeJPEG(data, tables []byte, width, height, samples int, ycc bool, mostScans int) (image.Image, error) {
	head := make([]byte, 0, len(tables)+64)
	head = append(head, 0xFF, 0xD8)
	if samples >= 3 {
		// Adobe's marker: transform 1 is YCbCr, 0 is none.
		head = append(head, 0xFF, 0xEE, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0)
		if ycc && samples == 3 {
			head[len(head)-1] = 1
		}
	}
	if len(tables) > 0 {
		var err error
		if head, _, err = segments(head, tables, nil); err != nil {
			return nil, fmt.Errorf("tables: %w", err)
		}
	}
	frame := &jpegFrame{width: width, height: height, samples: samples}
	head, rest, err := segments(head, data, frame)
	if err != nil {
		return nil, err
	}
	if !frame.seen {
		return nil, fmt.Errorf("no frame: %w", ErrJPEGHeader)
	}
	if scans(rest) > mostScans {
		return nil, fmt.Errorf("more than %d scans: %w", mostScans, ErrJPEGHeader)
	}
	img, err := jpeg.Decode(io.MultiReader(bytes.NewReader(head), bytes.NewReader(rest)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrBlockSize)
	}
	if b := img.Bounds(); b.Dx() != width || b.Dy() != height {
		return nil, fmt.Errorf("%d × %d pixels for %d × %d: %w", b.Dx(), b.Dy(), width, height, ErrBlockSize)
	}
	return img, nil
}

// jpegFrame is what the frame header must say.
type jpegFrame struct {
	width, height, samples int
	seen                   bool
}

// segments copies the marker segments of a stream, without its start and end markers and application data,
// behind head, up to the first scan, and returns the bytes from that scan on. A nil frame stands for tables
// only, where frames and scans are errors.
func segments(head, stream []byte, frame *jpegFrame) (out, rest []byte, err error) {
	if len(stream) < 2 || stream[0] != 0xFF || stream[1] != 0xD8 {
		return nil, nil, fmt.Errorf("does not start as JPEG: %w", ErrJPEGHeader)
	}
	p := stream[2:]
	for {
		for len(p) >= 2 && p[0] == 0xFF && p[1] == 0xFF {
			p = p[1:] // fill bytes
		}
		if len(p) < 2 || p[0] != 0xFF {
			if frame == nil && len(p) == 0 {
				return head, nil, nil
			}
			return nil, nil, fmt.Errorf("marker expected: %w", ErrJPEGHeader)
		}
		marker := p[1]
		if marker == 0xD9 {
			if frame == nil {
				return head, nil, nil
			}
			return nil, nil, fmt.Errorf("ends before its picture: %w", ErrJPEGHeader)
		}
		if marker == 0xD8 || marker >= 0xD0 && marker <= 0xD7 || marker == 0 || marker == 1 {
			return nil, nil, fmt.Errorf("marker %#x out of place: %w", marker, ErrJPEGHeader)
		}
		if len(p) < 4 {
			return nil, nil, fmt.Errorf("cut off: %w", ErrJPEGHeader)
		}
		n := 2 + int(binary.BigEndian.Uint16(p[2:]))
		if n < 4 || n > len(p) {
			return nil, nil, fmt.Errorf("segment of %d bytes: %w", n, ErrJPEGHeader)
		}
		switch {
		case marker == 0xDA:
			if frame == nil {
				return nil, nil, fmt.Errorf("scan among the tables: %w", ErrJPEGHeader)
			}
			return head, p, nil
		case marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC:
			if frame == nil || frame.seen || n < 10 {
				return nil, nil, fmt.Errorf("frame out of place: %w", ErrJPEGHeader)
			}
			frame.seen = true
			h, w := int(binary.BigEndian.Uint16(p[5:])), int(binary.BigEndian.Uint16(p[7:]))
			if p[4] != 8 || w != frame.width || h != frame.height || int(p[9]) != frame.samples {
				return nil, nil, fmt.Errorf("%d × %d pixels, %d samples of %d bits where the block is %d × %d, %d of 8: %w",
					w, h, p[9], p[4], frame.width, frame.height, frame.samples, ErrJPEGHeader)
			}
			head = append(head, p[:n]...)
		case marker >= 0xE0 && marker <= 0xEF || marker == 0xFE:
		default:
			head = append(head, p[:n]...)
		}
		p = p[n:]
	}
}

// scans counts the start-of-scan markers up to the end of the image.
func scans(p []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(p, 0xFF)
		if i < 0 || i+1 >= len(p) {
			return n
		}
		switch p[i+1] {
		case 0xDA:
			n++
		case 0xD9:
			return n
		}
		p = p[i+1:]
	}
}
