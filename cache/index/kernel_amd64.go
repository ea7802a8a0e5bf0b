package index

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

var hasAVX2 = cpu.X86.HasAVX2

// dotRows writes the dot product of each row with query to out: rows is len(out) rows of len(query) values each,
// a multiple of lane. Bit for bit dotRowsGo.
func dotRows(out []int32, rows []int8, query []int16) {
	if !hasAVX2 || len(query) == 0 || len(query)%lane != 0 {
		dotRowsGo(out, rows, query)
		return
	}
	if len(out) == 0 {
		return
	}
	_ = rows[len(out)*len(query)-1]
	dotRowsAVX2(unsafe.SliceData(out), unsafe.SliceData(rows), len(out), unsafe.SliceData(query), len(query))
}

// dotRowsAVX2 is in kernel_amd64.s; n > 0, stride > 0 and a multiple of 32.
//
//go:noescape
func dotRowsAVX2(out *int32, rows *int8, n int, query *int16, stride int)
