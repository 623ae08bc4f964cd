package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
)

// An Owner is the numeric user and group of a socket file. -1 leaves the ID unchanged.
type Owner struct{ UID, GID int }

// ParseMode returns the mode of a socket, written in octal as for chmod(1). It must
// let somebody write, because connecting needs that (unix(7)).
func ParseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, errors.New("must be permissions in octal, such as 0660")
	}
	if n&0o222 == 0 {
		return 0, errors.New("lets nobody write, which connecting needs; give it a mode such as 0660")
	}
	return fs.FileMode(n), nil
}

// ParseOwner returns the owner that s names: USER, USER:GROUP or :GROUP, each a name
// that the system knows, or a number.
func ParseOwner(s string) (o *Owner, err error) {
	name, group, hasGroup := strings.Cut(s, ":")
	if name == "" && group == "" || hasGroup && group == "" {
		return nil, errors.New("must be USER, USER:GROUP or :GROUP, by name or number")
	}
	o = &Owner{-1, -1}
	if name != "" {
		if u, err := user.Lookup(name); err == nil {
			name = u.Uid
		}
		if o.UID, err = parseID("user", name); err != nil {
			return nil, err
		}
	}
	if group != "" {
		if g, err := user.LookupGroup(group); err == nil {
			group = g.Gid
		}
		if o.GID, err = parseID("group", group); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func parseID(kind, s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("names a %s that this system does not know; give the number (a container may lack /etc/passwd)", kind)
	}
	return int(n), nil
}
