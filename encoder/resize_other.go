//go:build !amd64

package encoder

func horizontal(dst, src []byte, k *kernel) { horizontalGo(dst, src, k) }

func vertical(dst, src []byte, coef []int32, stride, n int) { verticalGo(dst, src, coef, stride, n) }

const accelerated = false
