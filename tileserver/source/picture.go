package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/internal/reject"
)

// The reasons for which a picture is refused. Each is a tilescout.ErrBadInput.
var (
	ErrNotPicture       = reject.New("picture", "ErrNotPicture", "neither PNG, JPEG nor WebP")
	ErrPictureHeader    = reject.New("picture", "ErrPictureHeader", "the header cannot be read")
	ErrPictureSize      = reject.New("picture", "ErrPictureSize", "too many pixels")
	ErrPictureBytes     = reject.New("picture", "ErrPictureBytes", "too many bytes")
	ErrPictureTruncated = reject.New("picture", "ErrPictureTruncated", "the picture is cut short")
	ErrPictureScans     = reject.New("picture", "ErrPictureScans", "too many scans")
)

// HardMaxSide is the longest side of a picture, in pixels, that no setting exceeds.
const HardMaxSide = 4096

// Limits are the caps on one picture from a stranger, checked before anything is decoded.
type Limits struct {
	MaxSide  int // pixels; 0 means 1024, never more than HardMaxSide
	MaxBytes int // encoded; 0 means 8 MiB
	MaxScans int // of a JPEG; 0 means 64
}

func (l Limits) withDefaults() Limits {
	if l.MaxSide <= 0 {
		l.MaxSide = 1024
	}
	l.MaxSide = min(l.MaxSide, HardMaxSide)
	if l.MaxBytes <= 0 {
		l.MaxBytes = 8 << 20
	}
	if l.MaxScans <= 0 {
		l.MaxScans = maxScans
	}
	return l
}

// Shape is what the header of a picture says.
type Shape struct {
	MediaType     string // image/png, image/jpeg or image/webp
	Width, Height int    // pixels
}

// Sniff returns the media type of data by its first bytes: image/png, image/jpeg, image/webp, or "" for all else.
// What a server claims in Content-Type plays no part.
func Sniff(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return tilescout.PNG
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return tilescout.JPEG
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return tilescout.WebP
	}
	return ""
}

// Check reads the header of a picture and refuses what is no PNG, JPEG or WebP, is larger than the limits, or ends
// before its own end mark. No pixel is decoded. All errors are ErrBadInput.
func Check(data []byte, l Limits) (Shape, error) {
	l = l.withDefaults()
	if len(data) > l.MaxBytes {
		return Shape{}, fmt.Errorf("picture of %d bytes is over the limit of %d: %w", len(data), l.MaxBytes, ErrPictureBytes)
	}
	shape, err := whole(data, l.MaxScans)
	if err != nil {
		return Shape{}, err
	}
	if shape.Width < 1 || shape.Height < 1 || shape.Width > l.MaxSide || shape.Height > l.MaxSide {
		return Shape{}, fmt.Errorf("%s of %d × %d pixels is not within 1 to %d a side: %w",
			shape.MediaType, shape.Width, shape.Height, l.MaxSide, ErrPictureSize)
	}
	return shape, nil
}

// Header is Check without limits of size: those are the caller's business.
func Header(data []byte) (Shape, error) { return whole(data, maxScans) }

func whole(data []byte, scans int) (Shape, error) {
	shape, err := header(data, scans)
	if err != nil {
		return Shape{}, err
	}
	if !complete(data, shape.MediaType) {
		return Shape{}, fmt.Errorf("%s of %d bytes: %w", shape.MediaType, len(data), ErrPictureTruncated)
	}
	return shape, nil
}

func header(data []byte, scans int) (Shape, error) {
	shape := Shape{MediaType: Sniff(data)}
	var err error
	switch shape.MediaType {
	case tilescout.PNG:
		shape.Width, shape.Height, err = headerPNG(data)
	case tilescout.JPEG:
		shape.Width, shape.Height, err = headerJPEG(data, scans)
	case tilescout.WebP:
		shape.Width, shape.Height, err = headerWebP(data)
	default:
		return Shape{}, fmt.Errorf("%s: %w", Describe(data), ErrNotPicture)
	}
	switch {
	case errors.Is(err, ErrPictureScans), errors.Is(err, ErrPictureTruncated):
		return Shape{}, fmt.Errorf("%s: %w", shape.MediaType, err)
	case err != nil:
		return Shape{}, fmt.Errorf("%s: %v: %w", shape.MediaType, err, ErrPictureHeader)
	}
	return shape, nil
}

// complete tells whether data reaches the end mark of its format. A picture cut short decodes to a half-grey tile,
// and would be kept and embedded as if it were the place.
func complete(data []byte, mediaType string) bool {
	switch mediaType {
	case tilescout.PNG:
		return completePNG(data)
	case tilescout.JPEG:
		return completeJPEG(data)
	case tilescout.WebP:
		// RIFF: four bytes, then the length of all that follows the length.
		return len(data) >= 12 && uint64(binary.LittleEndian.Uint32(data[4:]))+8 <= uint64(len(data))
	}
	return false
}

// completePNG walks the chunks (length, type, data, CRC) to IEND.
func completePNG(data []byte) bool {
	for at := uint64(8); at+12 <= uint64(len(data)); {
		length := uint64(binary.BigEndian.Uint32(data[at:]))
		end := at + 12 + length
		if end > uint64(len(data)) {
			return false
		}
		if string(data[at+4:at+8]) == "IEND" {
			return true
		}
		at = end
	}
	return false
}

// segments calls yield with each marker of a JPEG and its payload, up to and with the first scan header (0xDA), until
// yield returns false. It returns the offset behind the last segment, -1 where the segments are not in order.
func segments(data []byte, yield func(marker byte, payload []byte) bool) int {
	for at := 2; at+4 <= len(data); {
		if data[at] != 0xff {
			return -1
		}
		marker := data[at+1]
		if marker == 0xff { // fill byte
			at++
			continue
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 { // no payload
			at += 2
			continue
		}
		length := int(binary.BigEndian.Uint16(data[at+2:]))
		if length < 2 || at+2+length > len(data) || marker == 0xd9 {
			return -1
		}
		more := yield(marker, data[at+4:at+2+length])
		at += 2 + length
		if !more || marker == 0xda {
			return at
		}
	}
	return -1
}

// maxScans of a JPEG where nobody says otherwise: in a progressive one a scan of 20 bytes may walk over every pixel, so scans, not bytes, are the
// work of decoding. Encoders write about ten.
const maxScans = 64

var errNoFrame = errors.New("no frame header")

// headerJPEG reads the frame header (SOF0 to SOF2, what image/jpeg decodes). image/jpeg itself would allocate 13 KiB
// for it, which is felt at thousands of tiles a second.
func headerJPEG(data []byte, scans int) (width, height int, err error) {
	err = errNoFrame
	segments(data, func(marker byte, p []byte) bool {
		switch {
		case marker >= 0xc0 && marker <= 0xc2:
			if len(p) < 6 || p[0] != 8 || len(p) != 6+3*int(p[5]) || p[5] != 1 && p[5] != 3 && p[5] != 4 {
				err = errors.New("frame header that is not 8 bits of 1, 3 or 4 components")
				return false
			}
			height, width, err = int(binary.BigEndian.Uint16(p[1:])), int(binary.BigEndian.Uint16(p[3:])), nil
			if bytes.Count(data, []byte{0xff, 0xda}) > scans {
				err = fmt.Errorf("more than %d: %w", scans, ErrPictureScans)
			}
			return false
		case marker >= 0xc3 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			err = fmt.Errorf("frame type %d, which nobody decodes", marker-0xc0)
			return false
		}
		return marker != 0xda
	})
	return width, height, err
}

// completeJPEG looks for the end mark after the header of the first scan. In entropy-coded data 0xFF is stuffed, so
// FF D9 there is the real one; before the scan it may be that of a thumbnail.
func completeJPEG(data []byte) bool {
	scan := false
	at := segments(data, func(marker byte, _ []byte) bool {
		scan = marker == 0xda
		return true
	})
	return scan && at >= 0 && bytes.LastIndex(data[at:], []byte{0xff, 0xd9}) >= 0
}

// Describe says in a few words what data looks like, for error messages. It quotes nothing of it.
func Describe(data []byte) string {
	head := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(data[:min(len(data), 512)]), "\ufeff")))
	switch {
	case len(data) == 0:
		return "an empty body"
	case strings.HasPrefix(head, "<!doctype html"), strings.HasPrefix(head, "<html"), strings.Contains(head, "<head"), strings.Contains(head, "<body"):
		return "an HTML page"
	case strings.HasPrefix(head, "<?xml"), strings.HasPrefix(head, "<"):
		return "an XML document"
	case strings.HasPrefix(head, "{"), strings.HasPrefix(head, "["):
		return "a JSON document"
	case strings.HasPrefix(head, "gif8"):
		return "a GIF"
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return "gzip data"
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		return "a TIFF"
	case len(data) >= 12 && string(data[4:8]) == "ftyp":
		return "an AVIF or video file"
	case data[0] == 0x1a:
		return "a vector tile"
	}
	return "a body of " + strconv.Itoa(len(data)) + " bytes"
}

// ETag returns a strong validator of data, without quotes: equal bytes, equal validator, wherever they come from.
func ETag(data []byte) string {
	const digits = "0123456789abcdef"
	var text [16]byte
	sum := xxhash.Sum64(data)
	for i := range text {
		text[len(text)-1-i] = digits[sum>>(4*i)&15]
	}
	return string(text[:])
}
