package onnxruntime

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"os"
	"runtime"
)

// checkHeader refuses a file that is no shared library of this platform before the loader maps it: the loader's own
// words differ from system to system. A fat Mach-O file is left to the loader.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return unavailable("open %s: %v", path, err)
	}
	defer f.Close()
	switch runtime.GOOS {
	case "windows":
		want := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}[runtime.GOARCH]
		lib, err := pe.NewFile(f)
		if err != nil || want != 0 && lib.Machine != want {
			return errWrongPlatform(path)
		}
	case "darwin":
		want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[runtime.GOARCH]
		lib, err := macho.NewFile(f)
		if err != nil {
			if _, fat := macho.NewFatFile(f); fat == nil {
				return nil
			}
			return errWrongPlatform(path)
		}
		if want != 0 && lib.Cpu != want {
			return errWrongPlatform(path)
		}
	default:
		want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
		lib, err := elf.NewFile(f)
		if err != nil || lib.Type != elf.ET_DYN || want != 0 && lib.Machine != want {
			return errWrongPlatform(path)
		}
	}
	return nil
}
