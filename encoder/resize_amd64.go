package encoder

import "golang.org/x/sys/cpu"

// accelerated says that the passes in assembly can be used here. They give the bytes of those in Go.
var accelerated = cpu.X86.HasAVX2

//go:noescape
func verticalAVX2(dst, src *byte, coef *int32, taps, stride, n int)

//go:noescape
func horizontalAVX2(dst, src *byte, first, wide *int32, pairs, n int)

// horizontal makes one row of k.first pixels from one row, 4 bytes each. It may read and write slack bytes beyond both.
func horizontal(dst, src []byte, k *kernel) {
	if !accelerated {
		horizontalGo(dst, src, k)
		return
	}
	last := len(k.first) - 1
	_, _ = dst[4*last+3], src[4*(int(k.first[last])+k.taps)-1]
	horizontalAVX2(&dst[0], &src[0], &k.first[0], &k.wide[0], k.taps/2, len(k.first))
}

// vertical makes n bytes of one row from rows that lie stride bytes apart, n being a multiple of 4. It may read and write
// slack bytes beyond both.
func vertical(dst, src []byte, coef []int32, stride, n int) {
	if !accelerated {
		verticalGo(dst, src, coef, stride, n)
		return
	}
	whole := (n + 31) &^ 31
	_, _ = dst[whole-1], src[(len(coef)-1)*stride+whole-1]
	verticalAVX2(&dst[0], &src[0], &coef[0], len(coef), stride, n)
}
