package remote

import "testing"

// FuzzContentRange: a range that is read lies in the file, whatever the server writes.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-99/1234", "bytes 0-0/1", "bytes */1234", "bytes 5-4/9", "bytes 0-9/*", "Bytes 0-9223372036854775807/9223372036854775808", "bytes -1-2/3", "items 0-1/2", "bytes 0-99/100/7"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, size, err := contentRange(s)
		if err == nil && !(start >= 0 && start <= end && end < size) {
			t.Errorf("contentRange(%q) = %d, %d, %d", s, start, end, size)
		}
	})
}
