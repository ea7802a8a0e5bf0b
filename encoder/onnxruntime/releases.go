package onnxruntime

import "fmt"

// platform is one operating system and architecture for which the project publishes builds.
type platform struct{ goos, goarch string }

// file is something whose bytes are known beforehand.
type file struct {
	name   string
	size   int64  // bytes; 0 if unknown
	sha256 string // hex; "" if unknown
}

// build says where the library of one platform comes from: the official release archive, and as a second way the
// wheel of the same version. Hashes of archives agree in two or more independent public repositories (windows/arm64 in
// one); wheels and the libraries in them were downloaded and hashed.
type build struct {
	archive file
	member  file // in the archive, below <stem>/lib/
	wheel   file
	inWheel file // in the wheel, below onnxruntime/capi/
}

func builds() map[platform]build {
	const linux, mac, windows = "libonnxruntime.so." + Version, "libonnxruntime." + Version + ".dylib", "onnxruntime.dll"
	wheel := func(tag string, size int64, sha string) file {
		return file{fmt.Sprintf("onnxruntime-%s-cp312-cp312-%s.whl", Version, tag), size, sha}
	}
	return map[platform]build{
		{"linux", "amd64"}: {
			archive: file{"onnxruntime-linux-x64-" + Version + ".tgz", 11082880, "c3fddc4f139a045b0c4902c57410f0694f1c2fdf9b6939fbe38b1aeae7cd14ba"},
			member:  file{linux, 28497752, "5715f06d8992ca8eeeddcce43df3a7d38f97d537052126f558e912cb312460ca"},
			wheel:   wheel("manylinux_2_28_x86_64", 23136745, "2b80d8c7ec2cc7438e4da3760b88c24568cba72c9ace96d668800a6c79419acb"),
			inWheel: file{linux, 28501848, "8902e52a04bf6bf26f1613746811d6194f9c97ce7a6a7a28452b48522d3bd8d0"},
		},
		{"linux", "arm64"}: {
			archive: file{"onnxruntime-linux-aarch64-" + Version + ".tgz", 10027600, "e1799098ebc054b370f6176a450f158720f297818c613e5dc99b92e2ec82346f"},
			member:  file{name: linux},
			wheel:   wheel("manylinux_2_28_aarch64", 20816870, "d2fb19e848f7c33ed8d3182b52504aaa11c5e8da438bbb47296f85b133cbcf6b"),
			inWheel: file{linux, 24538024, "1444bdca675524f4d265f71397810c9b1f39164b6dccc8f1a39cd81d938e98f4"},
		},
		{"darwin", "arm64"}: {
			archive: file{"onnxruntime-osx-arm64-" + Version + ".tgz", 41578864, "d0706fc34f315d8c88639d0a8c81f2e09e815f282cabed3493c06a054352cf92"},
			member:  file{mac, 43184400, "68f6e54e695583adc371aef610ec4abb1ffaa3df656582922de7690f7e2000eb"},
			wheel:   wheel("macosx_14_0_arm64", 21430049, "3a3814c041251d6a77fdf513fb282056538ee826d2f1178a0df3c549d3fff6ba"),
			inWheel: file{mac, 33332888, "8ab8982e8fc0a3d5121bf95404dba7a15d70b7df49a8bab1ba481ff961d93dc8"},
		},
		{"windows", "amd64"}: {
			archive: file{"onnxruntime-win-x64-" + Version + ".zip", 79645520, "c9b4b7086b529ad814f428c1bad028e20a25d7dc0699836775faace4ab5b78b2"},
			member:  file{name: windows},
			wheel:   wheel("win_amd64", 14001407, "4acf2b4948b7ede87221ca6332344b8facdc8059d6ac751a7d367d04532b02dd"),
			inWheel: file{windows, 18093880, "f9013e824c1dbc5b1874ffdabeedfd1cad4e2dabd9d93528f6ec6d21c2980d00"},
		},
		{"windows", "arm64"}: {
			archive: file{"onnxruntime-win-arm64-" + Version + ".zip", 81679033, "a094a49c3ced0f9fca554647cc7566ae99d93a63a8ce6bf47975561c2de7608e"},
			member:  file{name: windows},
			wheel:   wheel("win_arm64", 13746981, "dc61a79cb39afd66ab3f01fd2c23591a7f01de89c1668e1fb6315067fc279164"),
			inWheel: file{windows, 17878328, "7ca16a9b0298e098b66dc956fa415a3081be59070320383a1701dab7b19a6120"},
		},
	}
}

// libraryNames are the file names tried in a folder, best first.
func libraryNames(goos string) []string {
	switch goos {
	case "darwin":
		return []string{"libonnxruntime." + Version + ".dylib", "libonnxruntime.1.dylib", "libonnxruntime.dylib"}
	case "windows":
		return []string{"onnxruntime.dll"}
	}
	return []string{"libonnxruntime.so." + Version, "libonnxruntime.so.1", "libonnxruntime.so"}
}
