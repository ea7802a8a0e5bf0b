//go:build !amd64

package encoder

func blend(dst []int16, near, far []uint8)            { blendGo(dst, near, far, 0) }
func widen(dst []uint8, row []int16, even, odd int16) { widenGo(dst, row, even, odd, 0) }
func fullRange(out []byte, luma, cb, cr []uint8)      { fullRangeGo(out, luma, cb, cr) }
