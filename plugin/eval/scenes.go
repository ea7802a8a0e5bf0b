package eval

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tilescout/tilescout"
)

// Bounds on a set of scenes.
const (
	maxLine     = 1 << 20 // bytes of one line
	maxScenes   = 1 << 20
	maxPicture  = 8 << 20 // bytes, as the encoder takes them
	maxCaptions = 64      // of one scene
)

// Scene is one labelled picture of a set.
type Scene struct {
	File     string // its name in the archive or folder
	Class    string // as the set spells it
	Captions []string
	Unnamed  bool   // the line says `"named": false`: it counts only where a label names its class
	Where    string // for messages: "valid.jsonl line 12"
}

// Set is labelled pictures: of a folder, of an archive, or of a JSONL file with either. Safe for concurrent use.
type Set struct {
	Name   string
	Scenes []Scene
	store  store
}

// store gives the bytes of a picture by its name.
type store interface {
	read(name string) ([]byte, error)
	Close() error
}

// OpenSet opens a set. file is a JSONL file (one object a line with `file`, `class`, and, where there are, `captions`
// and `named`), a folder with one sub-folder per class, a folder of files named CLASS_…, or a tar archive of either. Pictures
// of a JSONL file lie in images, a folder or tar archive (gzip'ed or not); "" means NAME.tar.gz, NAME.tar,
// NAME.tgz or the folder NAME beside it, else the folder of the file.
func OpenSet(ctx context.Context, file, images string) (*Set, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%s: no such file or folder: %w", file, tilescout.ErrBadInput)
	}
	s := &Set{Name: strings.TrimSuffix(filepath.Base(filepath.Clean(file)), ".jsonl")}
	if info.IsDir() || isArchive(file) {
		if images != "" {
			return nil, fmt.Errorf("--images %s belongs to a .jsonl file, and %s is none: %w", images, file, tilescout.ErrBadInput)
		}
		return s, s.openTree(ctx, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read scenes: %v: %w", err, tilescout.ErrBadInput)
	}
	defer f.Close()
	if s.Scenes, err = readJSONL(ctx, f, filepath.Base(file)); err != nil {
		return nil, err
	}
	if images == "" {
		images = imagesBeside(file)
	}
	wanted := make(map[string]bool, len(s.Scenes))
	for _, scene := range s.Scenes {
		wanted[scene.File] = true
	}
	if s.store, err = openStore(ctx, images, wanted); err != nil {
		return nil, err
	}
	if err := s.check(images); err != nil {
		s.store.Close()
		return nil, err
	}
	return s, nil
}

// imagesBeside guesses where the pictures of a JSONL file are.
func imagesBeside(file string) string {
	stem := strings.TrimSuffix(file, filepath.Ext(file))
	for _, end := range []string{".tar.gz", ".tar", ".tgz", ""} {
		if info, err := os.Stat(stem + end); err == nil && info.IsDir() == (end == "") {
			return stem + end
		}
	}
	return filepath.Dir(file)
}

// check says early, and with its line, which picture is missing.
func (s *Set) check(images string) error {
	has, ok := s.store.(interface{ has(string) bool })
	if !ok {
		return nil
	}
	for _, scene := range s.Scenes {
		if !has.has(scene.File) {
			return fmt.Errorf("%s: %s is not in %s: %w", scene.Where, scene.File, images, ErrMissing)
		}
	}
	return nil
}

// Close frees the pictures.
func (s *Set) Close() error { return s.store.Close() }

// Picture returns the picture of a scene as it is encoded.
func (s *Set) Picture(i int) (tilescout.Picture, error) {
	data, err := s.store.read(s.Scenes[i].File)
	if err != nil {
		return tilescout.Picture{}, fmt.Errorf("%s: %w", s.Scenes[i].Where, err)
	}
	return tilescout.Picture{Data: data}, nil
}

// openTree takes classes from folders or from names.
func (s *Set) openTree(ctx context.Context, dir string) error {
	var err error
	if s.store, err = openStore(ctx, dir, nil); err != nil {
		return err
	}
	names, err := s.store.(interface {
		names(ctx context.Context) ([]string, error)
	}).names(ctx)
	if err == nil {
		s.Scenes, err = scenesOf(names, dir)
	}
	if err != nil {
		s.store.Close()
	}
	return err
}

// scenesOf gives each picture the class that its folder says, or its name up to the first underscore.
func scenesOf(names []string, dir string) ([]Scene, error) {
	slices.Sort(names)
	var out []Scene
	for _, name := range names {
		base := path.Base(name)
		if strings.HasPrefix(base, ".") || !isPicture(base) {
			continue
		}
		class := path.Base(path.Dir(name))
		if class == "." || class == "/" {
			var ok bool
			if class, _, ok = strings.Cut(base, "_"); !ok || class == "" {
				return nil, fmt.Errorf("%s: %s: its class is not known: put it into a folder named like its class, or name it CLASS_…: %w", dir, name, tilescout.ErrBadInput)
			}
		}
		out = append(out, Scene{File: name, Class: class, Where: path.Join(filepath.ToSlash(dir), name)})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no .jpg, .png or .webp in it or in a folder of it: %w", dir, ErrEmpty)
	}
	return out, nil
}

func isPicture(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".webp":
		return true
	}
	return false
}

// readJSONL reads the lines of a set.
func readJSONL(ctx context.Context, r io.Reader, name string) ([]Scene, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	var out []Scene
	lineOf := map[string]int{}
	n := 0
	for in.Scan() {
		n++
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		line := bytes.TrimSpace(in.Bytes())
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", name, n, err)
		}
		s.Where = fmt.Sprintf("%s line %d", name, n)
		if first, twice := lineOf[s.File]; twice {
			return nil, fmt.Errorf("%s: %s is on line %d too: %w", s.Where, s.File, first, ErrTwice)
		}
		lineOf[s.File] = n
		if out = append(out, s); len(out) > maxScenes {
			return nil, fmt.Errorf("%s: more than %d scenes: %w", name, maxScenes, ErrTooLarge)
		}
	}
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s line %d: longer than %d bytes: %w", name, n+1, maxLine, ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(out) == 0:
		return nil, fmt.Errorf("%s: not one line: %w", name, ErrEmpty)
	}
	return out, nil
}

// parseLine reads one scene.
func parseLine(line []byte) (Scene, error) {
	var v struct {
		File     *string  `json:"file"`
		Class    string   `json:"class"`
		Captions []string `json:"captions"`
		Named    *bool    `json:"named"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return Scene{}, fmt.Errorf("%q is a %s, want a %s: %w", kind.Field, kind.Value, kind.Type, ErrLine)
		}
		return Scene{}, fmt.Errorf("not a JSON object: %v; want {\"file\": …, \"class\": …}: %w", err, ErrLine)
	}
	if v.File == nil || *v.File == "" {
		return Scene{}, fmt.Errorf(`no "file" in it: %w`, ErrLine)
	}
	if err := checkName(*v.File); err != nil {
		return Scene{}, err
	}
	if len(v.Captions) > maxCaptions {
		return Scene{}, fmt.Errorf("%d captions, at most %d: %w", len(v.Captions), maxCaptions, ErrTooLarge)
	}
	return Scene{
		File: path.Clean(*v.File), Class: strings.TrimSpace(v.Class), Captions: v.Captions, Unnamed: v.Named != nil && !*v.Named,
	}, nil
}

// checkName refuses a name that is not one of a file beneath the folder or archive.
func checkName(name string) error {
	if !fs.ValidPath(path.Clean(name)) || path.Clean(name) == "." || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%.200q: %w", name, ErrPath)
	}
	return nil
}
