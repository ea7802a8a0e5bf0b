package encoder

import (
	"encoding/json"
	"os"
	"testing"
)

// TestColour: files decoded by Pillow 13 (libjpeg-turbo, libwebp) and by us. What remains is the rounding of the inverse
// cosine transform; without a colour step of our own the mean is 2.7 for JPEG and 4.8 for WebP.
func TestColour(t *testing.T) {
	raw, err := os.ReadFile("testdata/colour.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name          string
		Width, Height int
		File, RGB     []byte
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			s := &scratch{}
			if err := s.decode(c.File); err != nil {
				t.Fatal(err)
			}
			if s.pixels.w != c.Width || s.pixels.h != c.Height {
				t.Fatalf("%d × %d pixels, want %d × %d", s.pixels.w, s.pixels.h, c.Width, c.Height)
			}
			got := make([]byte, len(c.RGB))
			packRGB(got, s.pixels.pix)
			var sum, worst int
			for i, v := range got {
				d := int(v) - int(c.RGB[i])
				sum += max(d, -d)
				worst = max(worst, d, -d)
			}
			mean := float64(sum) / float64(len(got))
			t.Logf("mean difference %.3f, largest %d", mean, worst)
			if mean > 0.5 || worst > 4 {
				t.Errorf("mean difference %.3f and largest %d, want ≤ 0.5 and ≤ 4", mean, worst)
			}
		})
	}
}
