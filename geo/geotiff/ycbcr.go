package geotiff

import "image"

// yccRange says how samples code colour: JPEG uses all 256 values (JFIF), WebP those from 16 (BT.601).
type yccRange int

const (
	fullRange yccRange = iota
	videoRange
)

// convertYCbCr writes the picture as NRGBA with alpha 255 into dst, rows of stride bytes. Chroma is
// interpolated linearly between its sample points, as libjpeg ("fancy upsampling", jdsample.c) and libwebp do;
// image/color repeats it, which shows as steps along edges.
func convertYCbCr(dst []byte, stride int, m *image.YCbCr, r yccRange) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cb, cr := make([]byte, w+2), make([]byte, w+2)
	cw := w
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420:
		cw = (w + 1) / 2
	case image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410:
		cw = (w + 3) / 4
	}
	ch := h
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440:
		ch = (h + 1) / 2
	case image.YCbCrSubsampleRatio410:
		ch = (h + 1) / 2
	}
	sums := make([]int32, cw)
	for y := range h {
		luma := m.Y[y*m.YStride:][:w]
		switch m.SubsampleRatio {
		case image.YCbCrSubsampleRatio444:
			copy(cb[:w], m.Cb[y*m.CStride:][:w])
			copy(cr[:w], m.Cr[y*m.CStride:][:w])
		case image.YCbCrSubsampleRatio422:
			widen2(cb, m.Cb[y*m.CStride:][:cw])
			widen2(cr, m.Cr[y*m.CStride:][:cw])
		case image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440:
			near := y / 2
			far := near - 1 + 2*(y&1) // the neighbour on the row's side
			far = max(0, min(ch-1, far))
			for _, c := range []struct{ dst, src []byte }{{cb, m.Cb}, {cr, m.Cr}} {
				a, b := c.src[near*m.CStride:][:cw], c.src[far*m.CStride:][:cw]
				if m.SubsampleRatio == image.YCbCrSubsampleRatio440 {
					for x := range cw {
						c.dst[x] = byte((3*int32(a[x]) + int32(b[x]) + 1 + int32(y&1)) >> 2)
					}
					continue
				}
				if r == videoRange {
					widenWebP(c.dst, a, b)
					continue
				}
				for x := range cw {
					sums[x] = 3*int32(a[x]) + int32(b[x])
				}
				widenSums(c.dst, sums)
			}
		default:
			for x := range w {
				o := m.COffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)
				cb[x], cr[x] = m.Cb[o], m.Cr[o]
			}
		}
		row := dst[y*stride:][:4*w]
		if r == fullRange {
			rowFull(row, luma, cb, cr)
		} else {
			rowVideo(row, luma, cb, cr)
		}
	}
}

// widen2 doubles a row: each output is ¾ of the near and ¼ of the far sample, rounded to alternate sides as libjpeg does.
func widen2(dst, src []byte) {
	last := len(src) - 1
	for i, s := range src {
		v := int32(s)
		l, r := v, v
		if i > 0 {
			l = int32(src[i-1])
		}
		if i < last {
			r = int32(src[i+1])
		}
		dst[2*i] = byte((3*v + l + 1) >> 2)
		dst[2*i+1] = byte((3*v + r + 2) >> 2)
	}
}

// widenSums is widen2 on sums of two rows that carry a factor of four.
func widenSums(dst []byte, src []int32) {
	last := len(src) - 1
	if last == 0 {
		v := byte((4*src[0] + 8) >> 4)
		dst[0], dst[1] = v, v
		return
	}
	dst[0] = byte((4*src[0] + 8) >> 4)
	dst[1] = byte((3*src[0] + src[1] + 7) >> 4)
	for i := 1; i < last; i++ {
		dst[2*i] = byte((3*src[i] + src[i-1] + 8) >> 4)
		dst[2*i+1] = byte((3*src[i] + src[i+1] + 7) >> 4)
	}
	dst[2*last] = byte((3*src[last] + src[last-1] + 8) >> 4)
	dst[2*last+1] = byte((4*src[last] + 7) >> 4)
}

// widenWebP doubles a row as libwebp does (src/dsp/upsampling.c), near being the row of its own chroma samples and far
// the next: 9, 3, 3 and 1 sixteenths, rounded at each of two steps.
func widenWebP(dst, near, far []byte) {
	last := len(near) - 1
	dst[0] = byte((3*int32(near[0]) + int32(far[0]) + 2) >> 2)
	for i := range last {
		a, b, c, d := int32(near[i]), int32(near[i+1]), int32(far[i]), int32(far[i+1])
		sum := a + b + c + d + 8
		dst[2*i+1] = byte(((sum+2*(b+c))>>3 + a) >> 1)
		dst[2*i+2] = byte(((sum+2*(a+d))>>3 + b) >> 1)
	}
	dst[2*last+1] = byte((3*int32(near[last]) + int32(far[last]) + 2) >> 2)
}

// rowFull is JFIF's conversion in 16-bit fixed point, as jdcolor.c.
func rowFull(dst, luma, cb, cr []byte) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		y, u, v := int32(l), int32(cb[x])-128, int32(cr[x])-128
		p := dst[4*x : 4*x+4 : 4*x+4]
		p[0] = clamp8(y + (91881*v+32768)>>16)
		p[1] = clamp8(y + (-22554*u-46802*v+32768)>>16)
		p[2] = clamp8(y + (116130*u+32768)>>16)
		p[3] = 255
	}
}

// rowVideo is libwebp's conversion (src/dsp/yuv.h) of BT.601 samples.
func rowVideo(dst, luma, cb, cr []byte) {
	for x, l := range luma {
		y, u, v := int32(l)*19077>>8, int32(cb[x]), int32(cr[x])
		p := dst[4*x : 4*x+4 : 4*x+4]
		p[0] = clamp8((y + v*26149>>8 - 14234) >> 6)
		p[1] = clamp8((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
		p[2] = clamp8((y + u*33050>>8 - 17685) >> 6)
		p[3] = 255
	}
}

func clamp8(v int32) byte {
	if uint32(v) <= 255 {
		return byte(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}
