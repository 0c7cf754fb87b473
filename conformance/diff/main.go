package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sekisho/conformance"
	"sekisho/conformance/sandbox"
)

func main() {
	if role := sandbox.Role(); role != "" {
		if err := work(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	seed := flag.Int64("seed", 1, "the first world's `seed`")
	count := flag.Int("n", 2400, "how many dialogues")
	keepIn := flag.String("keep", "", "`directory` to keep small transcripts of differences in")
	record := flag.Bool("record", false, "play the kept transcripts named to Postfix and write down what it does")
	flag.Parse()
	if *record {
		if err := recordAll(flag.Args()); err != nil {
			fmt.Fprintln(os.Stderr, "diff:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*seed, *count, *keepIn); err != nil {
		fmt.Fprintln(os.Stderr, "diff:", err)
		os.Exit(1)
	}
}

func run(seed int64, count int, keepIn string) error {
	dir, err := os.MkdirTemp("", "diff")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := build(dir)
	if err != nil {
		return err
	}
	r := newRunner(binary, keepIn)
	for ; r.done < count; seed++ {
		if err := r.world(seed, count-r.done); err != nil {
			fmt.Fprintf(os.Stderr, "seed %d: %v\n", seed, err)
			if r.lost++; r.lost > 3 {
				return fmt.Errorf("%d worlds could not be played", r.lost)
			}
		}
	}
	r.covered.print(os.Stdout)
	for _, name := range sorted(r.known) {
		fmt.Fprintf(r.out, "known difference %q: %d dialogues\n", name, r.known[name])
	}
	if r.differ > 0 || r.lost > 0 {
		return fmt.Errorf("%d of %d dialogues differ, %d worlds could not be played", r.differ, r.done, r.lost)
	}
	return nil
}

const (
	services   = 60
	talksEach  = 40
	sideBySide = 60
)

// runner plays worlds and counts.
type runner struct {
	out          io.Writer
	binary       string
	begun        time.Time
	done, differ int
	lost         int // worlds
	keepIn       string
	kinds        map[string]int // of differences
	known        map[string]int // differences that differences.md explains
	covered      coverage
}

func newRunner(binary, keepIn string) *runner {
	return &runner{out: os.Stdout, binary: binary, begun: time.Now(), keepIn: keepIn, kinds: map[string]int{}, known: map[string]int{}}
}

// world plays the world of a seed, or what of it is within the limit.
func (r *runner) world(seed int64, limit int) error {
	w := makeWorld(seed, min(services, (limit+talksEach-1)/talksEach), min(limit, talksEach))
	p, err := start(w, r.binary)
	if err != nil {
		return err
	}
	defer p.close()
	for first := 0; first < len(w.Services); first += sideBySide {
		talks := map[int][]talk{}
		for n := first; n < min(first+sideBySide, len(w.Services)); n++ {
			talks[n] = w.Services[n].Talks
		}
		got, err := p.play(talks)
		if err != nil {
			return err
		}
		for _, n := range slices.Sorted(maps.Keys(got)) {
			r.compare(w, n, got[n], seed)
		}
		fmt.Fprintf(r.out, "seed %d: %d dialogues, %.1f/s, %d differ\n", seed, r.done, float64(r.done)/time.Since(r.begun).Seconds(), r.differ)
	}
	return nil
}

func (r *runner) compare(w *world, n int, all []played, seed int64) {
	if missing := len(w.Services[n].Talks) - len(all); missing > 0 {
		last := all[len(all)-1]
		fmt.Fprintf(r.out, "seed %d service %d: %d dialogues not had. Postfix: %s; Sekisho: %s\n  %s\n", seed, n, missing, last.postfix.Err, last.sekisho.Err,
			strings.Join(last.postfix.Log[:min(len(last.postfix.Log), 30)], "\n  "))
	}
	for i, p := range all {
		r.done++
		want, got := lines(p.postfix), lines(p.sekisho)
		if w.Services[n].Verbose {
			r.covered.add(p.postfix.Log)
			want, got = undebugged(want), undebugged(got)
		}
		if slices.Equal(heard(want), heard(got)) {
			continue
		}
		if known := knownDifference(want, got); known != "" {
			r.known[known]++
			continue
		}
		r.differ++
		kind := differenceKind(want, got)
		if r.kinds[kind]++; r.kinds[kind] > 1 {
			continue
		}
		if r.keepIn != "" {
			r.shrink(w, n, i, kind)
		}
		fmt.Fprintf(r.out, "---- seed %d service %d dialogue %d\n", seed, n, i)
		for _, s := range w.Services[n].Settings {
			fmt.Fprintln(r.out, "  "+s.text())
		}
		same := 0
		for same < len(want) && same < len(got) && want[same] == got[same] {
			same++
		}
		for _, l := range want[:same] {
			fmt.Fprintln(r.out, " ", l)
		}
		for _, l := range want[same:] {
			fmt.Fprintln(r.out, "-", l)
		}
		for _, l := range got[same:] {
			fmt.Fprintln(r.out, "+", l)
		}
	}
}

// shrink makes a difference small and keeps it.
func (r *runner) shrink(w *world, n, i int, kind string) {
	s := newShrinker(r.binary, kind, func(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) })
	c, again := s.shrink(sample{w.Main, w.Zone, w.Files, w.Services[n].Settings, w.Services[n].Talks[:i+1]})
	if !again {
		fmt.Fprintf(r.out, "not seen again:\n%s\n", kind)
		return
	}
	p, err := playSamples(r.binary, []sample{c})
	if err != nil {
		fmt.Fprintln(r.out, err)
		return
	}
	path, err := keep(r.keepIn, "made up", c, p[0].postfix)
	fmt.Fprintf(r.out, "%s (%d dialogues before) %v\n%s\n", path, len(c.Talks)-1, err, kind)
}

// recordAll plays kept transcripts to Postfix, writes down what it does, and
// says where Sekisho does not.
func recordAll(paths []string) error {
	dir, err := os.MkdirTemp("", "diff")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := build(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := record(path, binary); err != nil {
			return err
		}
	}
	return nil
}

func record(path, binary string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t, err := conformance.Parse(path, text)
	if err != nil {
		return err
	}
	c, err := sampleOf(t)
	if err != nil {
		return err
	}
	p, err := playSamples(binary, []sample{c})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if kind := differenceKind(lines(p[0].postfix), lines(p[0].sekisho)); kind != "" {
		fmt.Printf("%s: Sekisho differs\n%s\n", path, kind)
	}
	return os.WriteFile(path, transcript("", t.About, c, p[0].postfix).Format(), 0o644)
}
