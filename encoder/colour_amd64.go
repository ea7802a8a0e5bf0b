package encoder

//go:noescape
func blendAVX2(dst *int16, near, far *uint8, n int)

//go:noescape
func widenAVX2(dst *uint8, row *int16, n, even, odd int)

//go:noescape
func fullRangeAVX2(out, luma, cb, cr *uint8, n int)

// blend writes 3·near + far into dst[1:], and repeats the samples at both ends.
func blend(dst []int16, near, far []uint8) {
	n := 0
	if accelerated {
		if n = len(near) &^ 15; n > 0 {
			_, _ = dst[n], far[n-1]
			blendAVX2(&dst[1], &near[0], &far[0], n)
		}
	}
	blendGo(dst, near, far, n)
}

// widen doubles a row: (3·near + far) of 16, far being the neighbour on the pixel's side.
func widen(dst []uint8, row []int16, even, odd int16) {
	n := 0
	if accelerated {
		if n = (len(dst) / 2) &^ 15; n > 0 {
			_ = row[n+1]
			widenAVX2(&dst[0], &row[0], n, int(even), int(odd))
		}
	}
	widenGo(dst, row, even, odd, n)
}

// fullRange converts a row by JFIF. The fourth byte of a pixel has no meaning afterwards.
func fullRange(out []byte, luma, cb, cr []uint8) {
	n := 0
	if accelerated {
		if n = len(luma) &^ 7; n > 0 {
			_, _, _ = out[4*n-1], cb[n-1], cr[n-1]
			fullRangeAVX2(&out[0], &luma[0], &cb[0], &cr[0], n)
		}
	}
	fullRangeGo(out[4*n:], luma[n:], cb[n:], cr[n:])
}
