package encoder

import "encoding/binary"

// half is 0.5 in the fixed point of the accumulators, twice in one word.
const half = 1<<(precision-1) | 1<<(precision-1)<<32

// The plain Go passes hold two accumulators in one 64-bit word: a negative sum in the low half borrows from the high
// one, and is given back when the halves are taken apart. Sums fit 32 bits: |coefficients| add up to less than 2·2²².

// horizontalGo makes one row of k.first pixels from one row of w pixels, 4 bytes each.
func horizontalGo(dst, src []byte, k *kernel) {
	for i, first := range k.first {
		coef := k.coef[i*k.taps : (i+1)*k.taps]
		row := src[4*first:]
		rg, b := int64(half), int64(1<<(precision-1))
		for _, c := range coef {
			p := binary.LittleEndian.Uint32(row)
			rg += int64(uint64(p&0xff)|uint64(p&0xff00)<<24) * int64(c)
			b += int64(p>>16&0xff) * int64(c)
			row = row[4:]
		}
		lo := int32(rg)
		out := dst[4*i:][:4:4]
		out[0], out[1], out[2] = clamp(lo), clamp(int32((rg-int64(lo))>>32)), clamp(int32(b))
		out[3] = 0
	}
}

// verticalGo makes n bytes of one row from taps rows that lie stride bytes apart. n is a multiple of 4.
func verticalGo(dst, src []byte, coef []int32, stride, n int) {
	const mask = 0x000000ff_000000ff
	for x := 0; x < n; x += 8 {
		a, b, c, d := int64(half), int64(half), int64(half), int64(half)
		at := x
		for _, w := range coef {
			p := binary.LittleEndian.Uint64(src[at:])
			a += int64(p&mask) * int64(w)
			b += int64(p>>8&mask) * int64(w)
			c += int64(p>>16&mask) * int64(w)
			d += int64(p>>24&mask) * int64(w)
			at += stride
		}
		out := dst[x:][:8:8]
		for i, acc := range [4]int64{a, b, c, d} {
			lo := int32(acc)
			out[i], out[i+4] = clamp(lo), clamp(int32((acc-int64(lo))>>32))
		}
	}
}

// clamp rounds an accumulator to a byte.
func clamp(acc int32) byte {
	acc >>= precision
	if uint32(acc) > 255 {
		return byte(^(acc >> 31)) // 0 below, 255 above
	}
	return byte(acc)
}
