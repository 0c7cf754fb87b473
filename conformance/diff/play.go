package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"

	"sekisho/conformance/sandbox"
)

// pair is both servers in the same world.
type pair struct{ postfix, sekisho *sandbox.Worker }

// build compiles Sekisho into a directory.
func build(dir string) (string, error) {
	binary := filepath.Join(dir, "sekisho")
	if out, err := exec.Command("go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building sekisho: %w\n%s", err, out)
	}
	return binary, nil
}

// both calls f for Postfix and for Sekisho at the same time.
func both(f func(role string) error) error {
	var wait sync.WaitGroup
	var errs [2]error
	for i, role := range []string{rolePostfix, roleSekisho} {
		wait.Go(func() {
			if err := f(role); err != nil {
				errs[i] = fmt.Errorf("%s: %w", role, err)
			}
		})
	}
	wait.Wait()
	if errs[0] != nil {
		return errs[0]
	}
	return errs[1]
}

// start starts both servers.
func start(w *world, binary string) (*pair, error) {
	p := &pair{}
	err := both(func(role string) error {
		s, err := sandbox.Start(role, binaryVariable+"="+binary)
		if err != nil {
			return err
		}
		*p.of(role) = s
		var none reply
		plain := *w
		plain.Services = nil
		for _, s := range w.Services { // the dialogues come later
			s.Talks = nil
			plain.Services = append(plain.Services, s)
		}
		return s.Call(request{World: &plain}, &none)
	})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pair) of(role string) **sandbox.Worker {
	if role == rolePostfix {
		return &p.postfix
	}
	return &p.sekisho
}

func (p *pair) close() {
	for _, w := range []*sandbox.Worker{p.postfix, p.sekisho} {
		if w != nil {
			w.Close()
		}
	}
}

// played is what both servers made of a dialogue.
type played struct{ postfix, sekisho outcome }

// play has the dialogues of some services with both.
func (p *pair) play(talks map[int][]talk) (map[int][]played, error) {
	replies := map[string]reply{}
	var mu sync.Mutex
	err := both(func(role string) error {
		var r reply
		err := (*p.of(role)).Call(request{Play: talks}, &r)
		mu.Lock()
		defer mu.Unlock()
		replies[role] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[int][]played{}
	for n := range talks {
		theirs, ours := replies[rolePostfix].Play[n], replies[roleSekisho].Play[n]
		for i := range min(len(theirs), len(ours)) {
			out[n] = append(out[n], played{theirs[i], ours[i]})
		}
	}
	return out, nil
}
