package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"runtime"
	"strconv"
	"strings"
)

// An Owner is whom a socket file is given to, by number; -1 leaves it.
type Owner struct{ UID, GID int }

func (o Owner) String() string {
	s := ""
	if o.UID >= 0 {
		s = strconv.Itoa(o.UID)
	}
	if o.GID >= 0 {
		s += ":" + strconv.Itoa(o.GID)
	}
	return s
}

var errNoOwners = errors.New("is of no use on this system, whose socket files have neither")

// ParseMode returns the mode of a socket, written in octal as chmod(1) has it. It
// must let somebody write, since that is what connecting takes (unix(7)).
func ParseMode(s string) (fs.FileMode, error) {
	if runtime.GOOS == "windows" {
		return 0, errNoOwners
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, errors.New("must be permissions in octal, such as 0660")
	}
	if n&0o222 == 0 {
		return 0, errors.New("lets nobody write, which is what connecting takes; give it a mode such as 0660")
	}
	return fs.FileMode(n), nil
}

// ParseOwner returns the owner that s names: USER, USER:GROUP or :GROUP, each a
// name or a number. A name must be known to the system.
func ParseOwner(s string) (*Owner, error) {
	if runtime.GOOS == "windows" {
		return nil, errNoOwners
	}
	name, group, both := strings.Cut(s, ":")
	if name == "" && group == "" || both && group == "" {
		return nil, errors.New("must be USER, USER:GROUP or :GROUP, by name or number")
	}
	o := Owner{-1, -1}
	var err error
	if name != "" {
		if o.UID, err = number("user", name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return nil, err
		}
	}
	if group != "" {
		if o.GID, err = number("group", group, func() (string, error) {
			g, err := user.LookupGroup(group)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

// number returns the number that s is, or that look finds for it.
func number(kind, s string, look func() (string, error)) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	found, err := look()
	if err != nil {
		return 0, fmt.Errorf("names a %s that this system does not know; give the number (a container may lack /etc/passwd)", kind)
	}
	n, err := strconv.ParseUint(found, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("names a %s without a number", kind)
	}
	return int(n), nil
}
