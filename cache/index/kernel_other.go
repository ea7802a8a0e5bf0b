//go:build !amd64

package index

// dotRows writes the dot product of each row with query to out: rows is len(out) rows of len(query) values each.
func dotRows(out []int32, rows []int8, query []int16) { dotRowsGo(out, rows, query) }
