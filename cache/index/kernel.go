package index

// lane is the number of values the kernels take at a time; rows are padded to it with zeros.
const lane = 32

// maxQuery returns the largest magnitude of a quantised query so that no sum over a row can leave int32:
// rows hold −127…127, so stride·127·max < 2^31.
func maxQuery(stride int) int { return min(32767, (1<<31-1)/(127*stride)) }

// dotRowsGo writes the dot product of each row with query to out: rows is len(out) rows of len(query) values each.
// It is what every machine has, and what the assembly is held against.
func dotRowsGo(out []int32, rows []int8, query []int16) {
	stride := len(query)
	for i := range out {
		row := rows[i*stride : (i+1)*stride]
		var a, b, c, d int32
		for j := 0; j+4 <= len(row) && j+4 <= len(query); j += 4 {
			a += int32(row[j]) * int32(query[j])
			b += int32(row[j+1]) * int32(query[j+1])
			c += int32(row[j+2]) * int32(query[j+2])
			d += int32(row[j+3]) * int32(query[j+3])
		}
		out[i] = a + b + c + d
	}
}
