package kubemount

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// keyName matches the names that a key of a Secret can have
// (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data).
var keyName = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// Keys returns the names of the keys in dir, which is a volume or a directory of files.
func Keys(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, dataLink))
	if err != nil {
		entries, err = os.ReadDir(dir)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && !strings.HasPrefix(name, "..") && keyName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, err
}
