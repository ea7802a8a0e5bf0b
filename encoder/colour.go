package encoder

import "image"

// The colour step is our own for two reasons. image/color repeats each chroma sample over its 2×2 pixels, where every C
// decoder that models were trained with (libjpeg, libwebp) interpolates: a mean difference of 2.7 of 255 on JPEG. And
// x/image/webp hands out WebP's limited-range YCbCr as if it were full-range: 4.8 of 255. Here both come within rounding
// of the C libraries.

// writeYCbCr converts m to RGB in p. The alpha byte is left alone.
func writeYCbCr(p *pixels, m *image.YCbCr, webp bool) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	halfW, halfH := false, false
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio420:
		halfW, halfH = true, true
	case image.YCbCrSubsampleRatio422:
		halfW = true
	}
	stock := !halfW && m.SubsampleRatio != image.YCbCrSubsampleRatio444
	cw, ch := w, h // samples that the file really has: what lies beyond is padding
	if halfW {
		cw = (w + 1) / 2
	}
	if halfH {
		ch = (h + 1) / 2
	}
	cb := make([]int16, 2*(cw+2)) // a row of both, vertically interpolated: 3·near + far, or 4·near; an edge on both sides
	cr := cb[cw+2:]
	cb = cb[:cw+2]
	fullB, fullR := make([]uint8, w+1), make([]uint8, w+1)
	for y := range h {
		luma := m.Y[y*m.YStride:][:w]
		out := p.pix[4*y*w:][:4*w]
		switch {
		case stock:
			for x := range w {
				o := m.COffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)
				fullB[x], fullR[x] = m.Cb[o], m.Cr[o]
			}
		case !halfW:
			copy(fullB, m.Cb[y*m.CStride:][:w])
			copy(fullR, m.Cr[y*m.CStride:][:w])
		default:
			near, far := y, y
			if halfH {
				near = y / 2
				far = min(max(near-1+y&1*2, 0), ch-1)
			}
			blend(cb, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw])
			blend(cr, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw])
			// Rounding terms, of 16: libwebp rounds to nearest; libjpeg-turbo alternates, so that its bias cancels
			// (jdsample.c, h2v2_fancy_upsample and h2v1_fancy_upsample).
			even, odd := int16(8), int16(8)
			switch {
			case !webp && halfH:
				odd = 7
			case !webp:
				even = 4
			}
			widen(fullB, cb, even, odd)
			widen(fullR, cr, even, odd)
		}
		if webp {
			limitedRange(out, luma, fullB, fullR)
		} else {
			fullRange(out, luma, fullB, fullR)
		}
	}
}

// blendGo is blend from sample n on.
func blendGo(dst []int16, near, far []uint8, n int) {
	d := dst[1 : len(near)+1]
	far = far[:len(near)]
	for i := n; i < len(near); i++ {
		d[i] = 3*int16(near[i]) + int16(far[i])
	}
	dst[0], dst[len(near)+1] = d[0], d[len(d)-1]
}

// widenGo is widen from sample n of row on. An odd width's last sample gives one pixel more than the picture has; dst has
// room for it.
func widenGo(dst []uint8, row []int16, even, odd int16, n int) {
	for i := n; i < len(dst)/2; i++ {
		left, near, right := row[i], row[i+1]*3, row[i+2]
		dst[2*i] = uint8((near + left + even) >> 4)
		dst[2*i+1] = uint8((near + right + odd) >> 4)
	}
}

// fullRangeGo converts a row by JFIF, in the fixed point of libjpeg (jdcolor.c).
func fullRangeGo(out []byte, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, v := range luma {
		y, b, r := int32(v), int32(cb[x])-128, int32(cr[x])-128
		o := out[4*x:][:4:4]
		o[0] = clip(y + (91881*r+1<<15)>>16)
		o[1] = clip(y + (-22554*b-46802*r+1<<15)>>16)
		o[2] = clip(y + (116130*b+1<<15)>>16)
	}
}

// limitedRange converts a row by BT.601 with luma 16–235, in the fixed point of libwebp (src/dsp/yuv.h).
func limitedRange(out []byte, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, v := range luma {
		b, r := int32(cb[x]), int32(cr[x])
		y := int32(v) * 19077 >> 8
		o := out[4*x:][:4:4]
		o[0] = clip((y + r*26149>>8 - 14234) >> 6)
		o[1] = clip((y - b*6419>>8 - r*13320>>8 + 8708) >> 6)
		o[2] = clip((y + b*33050>>8 - 17685) >> 6)
	}
}

func clip(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}
