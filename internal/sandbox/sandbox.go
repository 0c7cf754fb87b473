// Package sandbox shuts a process in: afterwards it can read and write only
// below the paths given, whoever it runs as and whatever capabilities it has. It
// says what the kernel could do of that. It does not know what the paths are for.
// landlock(7).
package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Paths are what a process may touch: files, or folders with all below them.
// What does not exist is no error, and not within reach when it comes later.
type Paths struct {
	Read  []string
	Write []string // read as well
}

// needed is the version of Landlock's interface with all that Enforce asks for:
// truncating is a right of its own from 3 on, devices are from 5 on.
const needed = 5

// Version is that of the kernel's Landlock, 0 when it has none or does not allow
// it.
func Version() int {
	v, err := kernel.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

// Enforce shuts in the whole process, for good, with all that it executes; it
// cannot gain privileges by executing either. The text says what is in force, for
// the log; when the kernel has no Landlock, that nothing is.
func Enforce(p Paths) (inForce string, err error) {
	v := Version()
	if v == 0 {
		return "no sandbox: this kernel has no Landlock", nil
	}
	var rules []landlock.Rule
	for _, path := range p.Read {
		rules = append(rules, rule(path, landlock.RODirs, landlock.ROFiles)...)
	}
	for _, path := range p.Write {
		rules = append(rules, rule(path, movable, landlock.RWFiles)...)
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return "", fmt.Errorf("sandbox: landlock: %w", err)
	}
	if v < needed {
		return fmt.Sprintf("sandbox: Landlock version %d is in force; version %d could do more", v, needed), nil
	}
	return fmt.Sprintf("sandbox: Landlock version %d is in force", v), nil
}

// movable is a folder in which files can move from one subfolder to another.
func movable(paths ...string) landlock.FSRule { return landlock.RWDirs(paths...).WithRefer() }

// rule is the rule for a path; none when it does not exist, or is a socket or a
// pipe, which need none.
func rule(path string, dirs, files func(...string) landlock.FSRule) []landlock.Rule {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return []landlock.Rule{dirs(path).IgnoreIfMissing()}
	case info.Mode().IsRegular(), info.Mode()&os.ModeDevice != 0:
		return []landlock.Rule{files(path).IgnoreIfMissing()}
	}
	return nil
}

// Beyond returns the paths of other that p does not reach.
func (p Paths) Beyond(other Paths) (beyond []string) {
	for _, path := range other.Read {
		if !covered(path, p.Read) && !covered(path, p.Write) {
			beyond = append(beyond, path)
		}
	}
	for _, path := range other.Write {
		if !covered(path, p.Write) {
			beyond = append(beyond, path)
		}
	}
	slices.Sort(beyond)
	return slices.Compact(beyond)
}

func covered(path string, by []string) bool {
	path = filepath.Clean(path)
	return slices.ContainsFunc(by, func(dir string) bool {
		dir = filepath.Clean(dir)
		return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
	})
}
