package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sekisho/conformance"
)

// The names of a kept transcript's pieces of configuration.
const (
	mainPiece    = "main.cf"
	servicePiece = "service"
	zonePiece    = "zone"
)

// transcript writes a sample down, with what happened.
func transcript(name, about string, c sample, o outcome) *conformance.Transcript {
	t := &conformance.Transcript{Name: name, About: about, Client: "127.0.0.1", Port: port(0)}
	piece := func(name string, lines []string) {
		if len(lines) > 0 {
			t.With = append(t.With, conformance.File{Label: name, Lines: lines})
		}
	}
	piece(mainPiece, settingLines(c.Main))
	piece(servicePiece, settingLines(c.Settings))
	piece(zonePiece, c.Zone)
	for _, f := range sorted(c.Files) {
		piece(f, strings.Split(strings.TrimSuffix(c.Files[f], "\n"), "\n"))
	}
	for _, s := range o.Steps {
		if s.Kind == conformance.Reply {
			s.Data = []byte(maskReply(s.Data))
		}
		t.Steps = append(t.Steps, s)
	}
	t.Log = logLines(o)
	return t
}

func settingLines(all []setting) []string {
	var lines []string
	for _, s := range all {
		lines = append(lines, s.text())
	}
	return lines
}

// sampleOf reads a kept transcript back.
func sampleOf(t *conformance.Transcript) (sample, error) {
	c := sample{Files: map[string]string{}, Talks: []talk{turns(t.Steps)}}
	for _, f := range t.With {
		switch f.Label {
		case mainPiece, servicePiece:
			for _, l := range f.Lines {
				name, value, ok := strings.Cut(l, " =")
				if !ok {
					return c, fmt.Errorf("%s: %q is no setting", t.Name, l)
				}
				s := setting{Name: name, Value: strings.TrimSpace(value)}
				if f.Label == mainPiece {
					c.Main = append(c.Main, s)
				} else {
					c.Settings = append(c.Settings, s)
				}
			}
		case zonePiece:
			c.Zone = f.Lines
		default:
			c.Files[f.Label] = strings.Join(f.Lines, "\n") + "\n"
		}
	}
	return c, nil
}

// keep writes a transcript into dir under a free name.
func keep(dir, about string, c sample, o outcome) (string, error) {
	for n := 1; ; n++ {
		path := filepath.Join(dir, fmt.Sprintf("found-%03d.txt", n))
		if exists(path) {
			continue
		}
		return path, os.WriteFile(path, transcript("", about, c, o).Format(), 0o644)
	}
}
