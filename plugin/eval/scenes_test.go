package eval

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

// coloured is a picture that the fake encoder recognises.
func coloured(name string, seed uint64) []byte {
	c := map[string]color.NRGBA{"red": {220, 30, 30, 255}, "green": {30, 200, 30, 255}, "blue": {30, 30, 210, 255}, "grey": {128, 128, 128, 255}}[name]
	return encodertest.PNG(encodertest.Tile(c, seed)).Data
}

// put writes a file, making its folders.
func put(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tarOf is an archive of headers and bodies, gzip'ed if asked.
func tarOf(t testing.TB, zipped bool, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	var z *gzip.Writer
	w := tar.NewWriter(&b)
	if zipped {
		z = gzip.NewWriter(&b)
		w = tar.NewWriter(z)
	}
	for i := 0; i < len(entries); i += 2 {
		h, body := tar.Header{Mode: 0o644, Typeflag: tar.TypeReg}, entries[i+1].([]byte)
		switch e := entries[i].(type) {
		case string:
			h.Name = e
		case tar.Header:
			h = e
		}
		if h.Size == 0 {
			h.Size = int64(len(body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if z != nil {
		z.Close()
	}
	return b.Bytes()
}

// small is a set of eight pictures in two classes, with captions, in every form that a set can have.
func small(t testing.TB, dir string) string {
	t.Helper()
	var lines strings.Builder
	var entries []any
	for i := range 8 {
		class := []string{"red", "blue"}[i%2]
		name := fmt.Sprintf("%s_%d.png", class, i)
		fmt.Fprintf(&lines, `{"file":%q,"class":%q,"captions":["a %s field","%s"],"further":{"a":[1]}}`+"\n", name, class, class, class)
		entries = append(entries, name, coloured(class, uint64(i)))
	}
	put(t, filepath.Join(dir, "small.tar.gz"), tarOf(t, true, entries...))
	return put(t, filepath.Join(dir, "small.jsonl"), []byte(lines.String()))
}

func TestOpenSet(t *testing.T) {
	dir := t.TempDir()
	jsonl := small(t, dir)
	var byFolder, byName []any
	for i := range 4 {
		class := []string{"red", "blue"}[i%2]
		put(t, filepath.Join(dir, "folders", class, fmt.Sprintf("%d.png", i)), coloured(class, uint64(i)))
		put(t, filepath.Join(dir, "names", fmt.Sprintf("%s_%d.png", class, i)), coloured(class, uint64(i)))
		put(t, filepath.Join(dir, "beside", fmt.Sprintf("%s_%d.png", class, i)), coloured(class, uint64(i)))
		byFolder = append(byFolder, fmt.Sprintf("./set/%s/%d.png", class, i), coloured(class, uint64(i)))
		byName = append(byName, fmt.Sprintf("%s_%d.png", class, i), coloured(class, uint64(i)))
	}
	put(t, filepath.Join(dir, "names", ".hidden.png"), []byte("not looked at"))
	put(t, filepath.Join(dir, "names", "README.md"), []byte("not a picture"))
	var lines string
	for i := range 4 {
		class := []string{"red", "blue"}[i%2]
		lines += fmt.Sprintf("{\"file\":\"%s_%d.png\",\"class\":%q}\r\n\n", class, i, class)
	}
	beside := put(t, filepath.Join(dir, "beside.jsonl"), []byte("\ufeff"+lines))
	inFolder := put(t, filepath.Join(dir, "infolder.tar"), tarOf(t, false, append([]any{tar.Header{Name: "pics/", Typeflag: tar.TypeDir, Mode: 0o755}, []byte{}}, prefixed("pics/", byName)...)...))
	for _, c := range []struct {
		name, file, images string
		scenes             int
	}{
		{"jsonl beside tar.gz", jsonl, "", 8},
		{"jsonl and named tar.gz", jsonl, filepath.Join(dir, "small.tar.gz"), 8},
		{"jsonl beside folder", beside, "", 4},
		{"jsonl and tar with a folder", beside, inFolder, 4},
		{"folder of folders", filepath.Join(dir, "folders"), "", 4},
		{"folder of names", filepath.Join(dir, "names"), "", 4},
		{"tar of folders", put(t, filepath.Join(dir, "f.tar.gz"), tarOf(t, true, byFolder...)), "", 4},
		{"tar of names", put(t, filepath.Join(dir, "n.tar"), tarOf(t, false, byName...)), "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := OpenSet(t.Context(), c.file, c.images)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if len(s.Scenes) != c.scenes {
				t.Fatalf("%d scenes, want %d", len(s.Scenes), c.scenes)
			}
			count := map[string]int{}
			for i, scene := range s.Scenes {
				count[scene.Class]++
				pic, err := s.Picture(i)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := encoder.Decode(pic.Data); err != nil {
					t.Errorf("%s: %v", scene.File, err)
				}
			}
			if count["red"] != c.scenes/2 || count["blue"] != c.scenes/2 {
				t.Errorf("classes %v, want half red, half blue", count)
			}
		})
	}
}

func prefixed(prefix string, entries []any) []any {
	out := append([]any{}, entries...)
	for i := 0; i < len(out); i += 2 {
		out[i] = prefix + out[i].(string)
	}
	return out
}

// TestBadSets gives what a set must not be: each a typed error that names the file and the line or entry.
func TestBadSets(t *testing.T) {
	dir := t.TempDir()
	n := 0
	jsonl := func(text string) string {
		n++
		return put(t, filepath.Join(dir, fmt.Sprintf("l%d.jsonl", n)), []byte(text))
	}
	archive := func(entries ...any) string {
		n++
		return put(t, filepath.Join(dir, fmt.Sprintf("a%d.tar", n)), tarOf(t, false, entries...))
	}
	raw := func(name string, data []byte) string { return put(t, filepath.Join(dir, name), data) }
	picture := coloured("red", 1)
	good := `{"file":"a.png","class":"red"}` + "\n"
	ok := archive("a.png", picture)
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(dir, "linked")
	put(t, filepath.Join(dir, "outside.png"), picture)
	put(t, filepath.Join(linked, "b.png"), picture)
	if err := os.Symlink(filepath.Join(dir, "outside.png"), filepath.Join(linked, "a.png")); err != nil {
		t.Fatal(err)
	}
	whole := tarOf(t, false, "a.png", picture)
	bomb := tarOf(t, true, "a.png", make([]byte, maxPicture+1))
	for _, c := range []struct {
		name, file, images string
		kind               error
		says               string
	}{
		{"no such file", filepath.Join(dir, "no.jsonl"), "", tilescout.ErrBadInput, "no.jsonl"},
		{"no such images", jsonl(good), filepath.Join(dir, "no.tar"), tilescout.ErrBadInput, "--images"},
		{"images of a folder", empty, ok, tilescout.ErrBadInput, "--images"},
		{"empty folder", empty, "", ErrEmpty, "empty"},
		{"empty jsonl", jsonl("\n\n"), ok, ErrEmpty, "jsonl"},
		{"not JSON", jsonl(good + "hello\n"), ok, ErrLine, "line 2"},
		{"half a JSON", jsonl(good + `{"file":"b.png","cl`), ok, ErrLine, "line 2"},
		{"an array", jsonl("[1]\n"), ok, ErrLine, "line 1"},
		{"file is a number", jsonl(`{"file":7,"class":"red"}`), ok, ErrLine, "file"},
		{"no file", jsonl(good + `{"class":"red"}`), ok, ErrLine, "line 2"},
		{"captions are a text", jsonl(`{"file":"a.png","captions":"red"}`), ok, ErrLine, "captions"},
		{"a line too long", jsonl(good + `{"file":"` + strings.Repeat("x", maxLine) + `"}`), ok, ErrTooLarge, "line 2"},
		{"too many captions", jsonl(`{"file":"a.png","captions":["` + strings.Repeat(`x","`, maxCaptions) + `x"]}`), ok, ErrTooLarge, "captions"},
		{"a file twice", jsonl(good + good), ok, ErrTwice, "line 1"},
		{"dots in a line", jsonl(good + `{"file":"../a.png","class":"red"}`), ok, ErrPath, "line 2"},
		{"absolute in a line", jsonl(`{"file":"/etc/passwd","class":"red"}`), ok, ErrPath, "passwd"},
		{"backslash in a line", jsonl(`{"file":"..\\a.png","class":"red"}`), ok, ErrPath, "line 1"},
		{"a zero in a line", jsonl(`{"file":"a\u0000.png","class":"red"}`), ok, ErrPath, "line 1"},
		{"missing from the archive", jsonl(good + `{"file":"b.png","class":"red"}`), ok, ErrMissing, "line 2"},
		{"missing from the folder", jsonl(good), empty, ErrMissing, "a.png"},
		{"a link out of the folder", jsonl(good), linked, ErrMissing, "a.png"},
		{"not a tar", jsonl(good), raw("text.tar", []byte(strings.Repeat("text", 1000))), ErrArchive, "text.tar"},
		{"an empty tar", jsonl(good), raw("none.tar", tarOf(t, false)), ErrEmpty, "none.tar"},
		{"a cut tar", jsonl(good), raw("cut.tar", whole[:700]), ErrArchive, "entry 1"},
		{"not gzip", jsonl(good), raw("bad.tar.gz", []byte{0x1f, 0x8b, 0, 0}), ErrArchive, "bad.tar.gz"},
		{"dots in the tar", jsonl(good), archive("a.png", picture, "../b.png", picture), ErrPath, "entry 2"},
		{"dots within the tar", jsonl(good), archive("a.png", picture, "x/../../b.png", picture), ErrPath, "entry 2"},
		{"absolute in the tar", jsonl(good), archive("/a.png", picture), ErrPath, "entry 1"},
		{"a symbolic link in the tar", jsonl(good), archive(tar.Header{Name: "a.png", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}, []byte{}), ErrLink, "entry 1"},
		{"a hard link in the tar", jsonl(good), archive("a.png", picture, tar.Header{Name: "b.png", Linkname: "a.png", Typeflag: tar.TypeLink}, []byte{}), ErrLink, "entry 2"},
		{"a device in the tar", jsonl(good), archive(tar.Header{Name: "a.png", Typeflag: tar.TypeBlock}, []byte{}), ErrArchive, "entry 1"},
		{"a name twice in the tar", jsonl(good), archive("a.png", picture, "./a.png", picture), ErrTwice, "entry 2"},
		{"a bomb", jsonl(good), raw("bomb.tar.gz", bomb), ErrTooLarge, "entry 1"},
		{"no class in a folder", filepath.Dir(put(t, filepath.Join(dir, "classless", "picture.png"), picture)), "", tilescout.ErrBadInput, "picture.png"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := OpenSet(t.Context(), c.file, c.images)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.kind) || !errors.Is(err, tilescout.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %v and a word about %q", err, c.kind, c.says)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenSet(ctx, jsonl(good), ok); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// TestTruncatedArchives cuts a small archive everywhere: an error, or the pictures that came before.
func TestTruncatedArchives(t *testing.T) {
	whole := tarOf(t, true, "a.png", []byte("picture"), "b.png", []byte("another"))
	for n := range whole {
		a := archive{}
		err := a.load(t.Context(), bytes.NewReader(whole[:n]), nil)
		if err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Fatalf("cut after %d bytes: %v, want %v", n, err, tilescout.ErrBadInput)
		}
		if err == nil && len(a) < 2 && n < len(whole)-30 {
			t.Fatalf("cut after %d bytes: %d pictures and no error", n, len(a))
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"file":"a.png","class":"red","captions":["x"],"named":false}`))
	f.Add([]byte(`{"file":"../a","class":1}`))
	f.Add([]byte(`{"file":"a/./b.png"}{}`))
	f.Add([]byte("\ufeffnull"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseLine(line)
		if err != nil {
			if !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("%q: %v is no %v", line, err, tilescout.ErrBadInput)
			}
			return
		}
		if !filepath.IsLocal(s.File) || s.File == "." || strings.ContainsAny(s.File, "\\\x00") || len(s.Captions) > maxCaptions {
			t.Errorf("%q: let through %+v", line, s)
		}
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, false, "a.png", []byte("x")))
	f.Add(tarOf(f, true, "a/b.png", []byte("x")))
	f.Add(tarOf(f, false, "../a.png", []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := archive{}
		if err := a.load(t.Context(), bytes.NewReader(data), nil); err != nil && !errors.Is(err, tilescout.ErrBadInput) {
			t.Errorf("%v is no %v", err, tilescout.ErrBadInput)
		}
		for name := range a {
			if !filepath.IsLocal(name) {
				t.Errorf("let %q through", name)
			}
		}
	})
}
