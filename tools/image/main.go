// Command image packs one static program into a container image, without a
// container engine, without a registry, and byte for byte the same each time.
//
//	image -name registry.example/tokenagent:1 -arch amd64 -binary dist/tokenagent -out dist/tokenagent.tar
//
// The archive is an OCI image layout and a docker archive in one, so that
// `docker load`, `podman load`, `kind load image-archive` and `ctr images
// import` all take it. The image is FROM scratch: the program, /etc/passwd and
// /etc/group with the user 65532, and nothing else. The digest of the image is
// printed.
//
// -command leaves out the entrypoint, for images whose pods name the program. -lib adds a
// file under its own path, for a program that needs shared libraries.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	var s spec
	var binary, out string
	flag.StringVar(&s.name, "name", "", "what the image is called, with its tag")
	flag.StringVar(&s.arch, "arch", "amd64", "architecture of the program, as Go calls it")
	flag.StringVar(&s.version, "version", "", "version that the image's labels name")
	flag.StringVar(&s.path, "path", "", "where the program lies in the image (default /NAME of its file)")
	flag.BoolVar(&s.command, "command", false, "no entrypoint: the pod names the program as its first argument")
	flag.Func("lib", "a file to add under its own absolute path; repeat it for each file", func(file string) error {
		data, err := os.ReadFile(file)
		s.libs = append(s.libs, entry{file, 0o755, data})
		return err
	})
	flag.StringVar(&binary, "binary", "", "the static program")
	flag.StringVar(&out, "out", "", "the archive to write")
	flag.Parse()
	if flag.NArg() > 0 || binary == "" || out == "" || !strings.Contains(s.name, ":") {
		fmt.Fprintln(os.Stderr, "image: give -name NAME:TAG, -binary FILE and -out FILE")
		os.Exit(2)
	}
	if s.path == "" {
		s.path = "/" + filepath.Base(binary)
	}
	digest, err := write(s, binary, out)
	if err == nil {
		_, err = fmt.Fprintf(os.Stdout, "%s\n%s\n", s.name, digest)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

// write packs the program in the file binary into the file out, which is
// replaced in one step, and returns the digest of the image.
func write(s spec, binary, out string) (digest string, err error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	archive, digest, err := pack(s, program)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(out+".new", archive, 0o644); err != nil { //nolint:gosec // an image is no secret
		return "", err
	}
	return digest, os.Rename(out+".new", out)
}
