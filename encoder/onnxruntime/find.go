package onnxruntime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tilescout/tilescout"
)

// Search says where to look for the library. The first place that holds one wins; a place that the operator named
// (Flag, an environment variable, Config) and that does not hold one is an error, never skipped.
type Search struct {
	Flag    string              // --onnxruntime: a file, or a folder to look in
	Getenv  func(string) string // TILESCOUT_ONNXRUNTIME, then ORT_DYLIB_PATH; nil reads the process's environment
	Config  string              // encoder.onnxruntime of the config file
	DataDir string              // the data folder, into which Install writes; "" skips it
	WorkDir string              // where the search for node_modules begins; "" is the current folder
	System  []string            // folders of the system; nil means the usual ones
}

// InstallDir is the folder below the data folder into which Install writes the library of a platform.
func InstallDir(dataDir, goos, goarch string) string {
	return filepath.Join(dataDir, "runtime", "onnxruntime", Version, goos+"-"+goarch)
}

// Find returns the absolute path of the ONNX Runtime library, symbolic links resolved: the library looks for its
// provider libraries in the folder it lies in. A library that Install wrote is checked against its recorded hash.
// Errors wrap tilescout.ErrUnavailable and name what to do.
func Find(s Search) (string, error) {
	if s.Getenv == nil {
		s.Getenv = os.Getenv
	}
	named := []struct{ how, path string }{
		{"--onnxruntime", s.Flag},
		{"TILESCOUT_ONNXRUNTIME", s.Getenv("TILESCOUT_ONNXRUNTIME")},
		{"ORT_DYLIB_PATH", s.Getenv("ORT_DYLIB_PATH")},
		{"encoder.onnxruntime", s.Config},
	}
	for _, n := range named {
		if n.path == "" {
			continue
		}
		path, err := inPlace(n.path)
		if err != nil {
			return "", unavailable("%s names %s, but %v. Correct it, or unset it and run \"tilescout runtime install\".", n.how, n.path, err)
		}
		return path, nil
	}

	folders := s.folders()
	for _, dir := range folders {
		path, err := inPlace(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoLibrary) {
			continue
		}
		if err != nil {
			return "", unavailable("look in %s: %v", dir, err)
		}
		if s.DataDir != "" && dir == folders[0] {
			if err := verifyInstalled(path); err != nil {
				return "", err
			}
		}
		return path, nil
	}
	b, known := builds()[platform{runtime.GOOS, runtime.GOARCH}]
	if !known {
		return "", errUnsupported(runtime.GOOS, runtime.GOARCH)
	}
	return "", unavailable(`shared library not found. Looked in: %s. Run "tilescout runtime install" (downloads ONNX Runtime %s for %s/%s, %d MB), or set --onnxruntime / TILESCOUT_ONNXRUNTIME to %s (%s or newer).`,
		strings.Join(folders, ", "), Version, runtime.GOOS, runtime.GOARCH, b.archive.size/1e6, libraryNames(runtime.GOOS)[len(libraryNames(runtime.GOOS))-1], oldest)
}

// folders lists the places after the named ones, in order; the data folder is first if there is one.
func (s Search) folders() []string {
	var dirs []string
	if s.DataDir != "" {
		dirs = append(dirs, InstallDir(s.DataDir, runtime.GOOS, runtime.GOARCH))
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		dirs = append(dirs, dir, filepath.Join(dir, "lib"), filepath.Join(filepath.Dir(dir), "lib"))
	}
	dirs = append(dirs, nodeModules(s.WorkDir)...)
	if s.System != nil {
		return append(dirs, s.System...)
	}
	return append(dirs, systemFolders()...)
}

// nodeModules lists where the npm package onnxruntime-node keeps its libraries: in the working folder, its web/, and
// every parent up to the one that holds go.mod. Without a go.mod only the working folder counts, so that a program
// run in somebody's download folder does not load code from its parents.
func nodeModules(work string) []string {
	if work == "" {
		work, _ = os.Getwd()
	}
	if work == "" {
		return nil
	}
	osName := map[string]string{"windows": "win32"}[runtime.GOOS]
	if osName == "" {
		osName = runtime.GOOS
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	tail := filepath.Join("node_modules", "onnxruntime-node", "bin", "napi-v6", osName, arch)
	var dirs []string
	for dir := work; ; {
		dirs = append(dirs, filepath.Join(dir, tail), filepath.Join(dir, "web", tail))
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dirs
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dirs[:2]
		}
		dir = parent
	}
}

func systemFolders() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"/usr/local/lib", "/opt/homebrew/lib", "/opt/onnxruntime/lib"}
	case "windows":
		// The DLL search path without System32: Windows may ship an old onnxruntime.dll of its own there.
		var dirs []string
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			if dir != "" && filepath.IsAbs(dir) && !strings.EqualFold(filepath.Base(dir), "System32") {
				dirs = append(dirs, dir)
			}
		}
		return dirs
	}
	multiarch := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return []string{"/usr/local/lib", "/usr/lib", "/usr/lib/" + multiarch, "/opt/onnxruntime/lib"}
}

var errNoLibrary = errors.New("no " + strings.Join(libraryNames(runtime.GOOS), ", ") + " is in it")

// inPlace returns the library at path, which is a file or a folder that holds one.
func inPlace(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("it does not exist (%w)", fs.ErrNotExist)
		}
		return "", err
	}
	if !info.IsDir() {
		return resolve(path)
	}
	for _, name := range libraryNames(runtime.GOOS) {
		candidate := filepath.Join(path, name)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() {
			return resolve(candidate)
		}
	}
	return "", errNoLibrary
}

func resolve(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// verifyInstalled compares a library with the hash that Install wrote beside it. A changed library is removed: the
// next "runtime install" must not find it, and nothing of it was loaded.
func verifyInstalled(path string) error {
	sum, err := os.ReadFile(path + ".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // put there by hand
	}
	if err != nil {
		return unavailable("read %s.sha256: %v", path, err)
	}
	want, _, _ := strings.Cut(strings.TrimSpace(string(sum)), " ")
	got, err := hashFile(path)
	if err != nil {
		return unavailable("read %s: %v", path, err)
	}
	if got == want {
		return nil
	}
	os.Remove(path)
	os.Remove(path + ".sha256")
	return errChecksum(path, got, want)
}

func errChecksum(name, got, want string) error {
	return &Error{
		Text: fmt.Sprintf("onnxruntime: checksum mismatch for %s: got %s, want %s; file removed, nothing was loaded.", name, got, want),
		Kind: tilescout.ErrUnavailable,
	}
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
