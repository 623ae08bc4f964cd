package reload

import (
	"context"
	"strings"
)

// Files is the content of files that stand anywhere, all of which must be there:
// the Keys of the Content are the paths as given. Each is as with [File], and
// believed by itself. They are read one after the other, so a replacement of two
// may show one before the other: a Step that takes only what fits together sees to
// that. Where they are keys of one directory, [Dir] reads them as one version.
func Files(paths ...string) Source {
	f := make(files, len(paths))
	for i, path := range paths {
		f[i] = File(path).(*file)
	}
	return f
}

type files []*file

func (f files) String() string {
	given := make([]string, len(f))
	for i, one := range f {
		given[i] = one.given
	}
	return strings.Join(given, ", ")
}

func (f files) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := f.track(maxBytes)
	return c, err
}

// track follows the ways to all files, also where one cannot be read: each is
// watched where it will appear. The limit holds for each.
func (f files) track(maxBytes int64) (Content, evidence, error) {
	found := make(map[string][]byte, len(f))
	all := evidence{spots: make(map[string]spot, len(f))}
	var first error
	for _, one := range f {
		c, ev, err := one.track(maxBytes)
		if err != nil && first == nil {
			first = err
		}
		found[one.given] = c.Data
		all.hops = append(all.hops, ev.hops...)
		all.spots[one.given] = ev.spots[""]
	}
	if first != nil {
		return Content{}, all, first
	}
	return Content{Keys: found, Path: f.String()}, all, nil
}
