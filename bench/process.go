package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// stat is what /proc/PID/stat says of a process (proc(5)).
type stat struct {
	pid, parent, threads int
	own, waited          float64 // CPU seconds: its own, and its ended children's
}

// userHZ is the unit of times in /proc, the same on all machines that Go knows.
const userHZ = 100

// parseStat reads one line of /proc/PID/stat.
func parseStat(pid int, line []byte) (stat, error) {
	// The name in parentheses may contain anything.
	end := bytes.LastIndexByte(line, ')')
	fields := strings.Fields(string(line[end+1:]))
	if end < 0 || len(fields) < 18 {
		return stat{}, fmt.Errorf("/proc/%d/stat: cannot be understood: %q", pid, line)
	}
	n := make([]int, 18)
	for _, i := range []int{1, 11, 12, 13, 14, 17} { // ppid, utime, stime, cutime, cstime, num_threads
		v, err := strconv.Atoi(fields[i])
		if err != nil {
			return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		n[i] = v
	}
	return stat{pid: pid, parent: n[1], threads: n[17], own: float64(n[11]+n[12]) / userHZ, waited: float64(n[13]+n[14]) / userHZ}, nil
}

// tree returns root and all that descends from it.
func tree(root int) ([]stat, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[int][]stat{}
	var found []stat
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // ended meanwhile
		}
		s, err := parseStat(pid, line)
		if err != nil {
			return nil, err
		}
		if pid == root {
			found = append(found, s)
		}
		children[s.parent] = append(children[s.parent], s)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found, nil
}

// cpuSeconds returns the CPU time that root, its descendants and those of them
// that have ended and been waited for used so far.
func cpuSeconds(root int) (float64, error) {
	processes, err := tree(root)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, p := range processes {
		sum += p.waited + p.precise()
	}
	return sum, nil
}

// precise returns a live process' own CPU time: in nanoseconds' resolution when
// it has one thread, so that a hundred processes do not add up their rounding.
func (p stat) precise() float64 {
	if p.threads != 1 {
		return p.own
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.pid))
	if err != nil {
		return p.own
	}
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return p.own
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || ns == 0 {
		return p.own
	}
	return float64(ns) / 1e9
}

// pss returns the proportional set size of root and its descendants in bytes:
// memory that several share counts once.
func pss(root int) (int64, error) {
	processes, err := tree(root)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range processes {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		n, err := parsePSS(data)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", p.pid, err)
		}
		sum += n
	}
	return sum, nil
}

// parsePSS finds the line "Pss: N kB".
func parsePSS(data []byte) (int64, error) {
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kB, err := strconv.ParseInt(f[1], 10, 64)
			return kB * 1024, err
		}
	}
	return 0, errors.New("has no line Pss")
}
