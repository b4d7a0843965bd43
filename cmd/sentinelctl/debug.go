package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/cmd/version"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) debugCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Collect what a bug report needs", Args: args(0, -1), RunE: group}
	cmd.AddCommand(a.bundleCmd())
	return cmd
}

func (a *app) bundleCmd() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "bundle [FILE]",
		Short: "Write a tar.gz for a bug report, with every node's state, log and figures and without secrets",
		Long: `Write a tar.gz for a bug report: of every node its version, configuration, state, events, history, metrics, Raft's
figures, goroutines, heap and the end of its log; and what the doctor finds. A manifest tells what is in it and what is missing.
Passwords, secrets and the paths of webhooks are not in it; names and addresses of nodes, masters and instances are.

FILE is sentineld-debug-TIME.tar.gz unless it is given. It must not exist, and only its owner can read it.
It works without a leader. With --local, the asked node alone is asked.`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return usagef("--max-wait %v: want more than 0", limit)
			}
			now := time.Now().UTC()
			file := "sentineld-debug-" + now.Format("20060102T150405Z") + ".tar.gz"
			if len(args) == 1 {
				file = args[0]
			}
			if file == "-" {
				return usagef("FILE -: a bundle is not written to stdout; name a file")
			}
			m, err := a.writeBundle(cmd.Context(), file, now, limit)
			if err != nil {
				return err
			}
			return a.printBundle(m)
		},
	}
	cmd.Flags().DurationVar(&limit, "max-wait", 2*time.Minute, "how long it may take")
	return cmd
}

// written is the JSON of the command: the file, and its manifest.
type written struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	manifest
}

// manifest tells what is in a bundle.
type manifest struct {
	MadeAt time.Time     `json:"made_at"`
	MadeBy string        `json:"made_by"`
	Nodes  []*nodeBundle `json:"nodes"`
	// Doctor is what the doctor found; its error where it could not be asked.
	Doctor bundled `json:"doctor"`
}

// nodeBundle is a node's part. Error is why it is missing, or ends early.
type nodeBundle struct {
	NodeID string    `json:"node_id"`
	Error  string    `json:"error"`
	Files  []bundled `json:"files"`
}

// bundled is a file. Error is why it is missing or not whole.
type bundled struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
	Error string `json:"error"`
}

// writeBundle makes the file. Nothing is left of it where that fails.
func (a *app) writeBundle(ctx context.Context, file string, now time.Time, limit time.Duration) (_ *written, err error) {
	patient, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	stream, err := sentinelv1.NewDiagnoseServiceClient(c).CollectBundle(patient, &sentinelv1.CollectBundleRequest{OwnOnly: a.set.local})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv() // before a file is made that would have nothing in it
	if errors.Is(err, io.EOF) {
		err = errCutShort
	}
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &exitError{exitRefused, fmt.Errorf("%s exists already: nothing was written; name another file", file)}
	}
	if err != nil {
		return nil, failedf("%w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file)
		}
	}()
	done := &written{File: file, manifest: manifest{MadeAt: now, MadeBy: "sentinelctl " + version.String()}}
	b := newBundle(out, now, &done.manifest)
	err = errors.Join(b.take(first, stream.Recv), b.doctor(a.diagnosis(patient)), b.close(), out.Close(), ctx.Err())
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err == nil {
		done.Bytes = info.Size()
	}
	return done, err
}

// diagnosis is what the doctor finds, as JSON.
func (a *app) diagnosis(ctx context.Context) ([]byte, error) {
	d, err := a.diagnose(ctx, &sentinelv1.DiagnoseRequest{Consistency: a.reading().consistency, IncludePassed: true}, time.Minute)
	if err != nil {
		return nil, err
	}
	return append(sentinelv1.JSON(d), '\n'), nil
}

// bundle is an archive in the making.
type bundle struct {
	zip  *gzip.Writer
	tar  *tar.Writer
	now  time.Time
	root string
	m    *manifest
}

func newBundle(w io.Writer, now time.Time, m *manifest) *bundle {
	zip := gzip.NewWriter(w)
	return &bundle{zip: zip, tar: tar.NewWriter(zip), now: now, root: "sentineld-debug-" + now.Format("20060102T150405Z"), m: m}
}

// take writes each file as soon as its last part is there. A stream that breaks leaves what there was.
func (b *bundle) take(part *sentinelv1.CollectBundleResponse, next func() (*sentinelv1.CollectBundleResponse, error)) error {
	var node *nodeBundle
	var file *bundled
	var text bytes.Buffer
	finish := func() error {
		if file == nil {
			return nil
		}
		file.Bytes = text.Len()
		node.Files = append(node.Files, *file)
		err := b.add(path.Join(plainName(node.NodeID), plainName(file.Name)), text.Bytes())
		file = nil
		text.Reset()
		return err
	}
	var err error
	for ; err == nil; part, err = next() {
		if node == nil || node.NodeID != part.GetNodeId() || file == nil || file.Name != part.GetName() {
			if err := finish(); err != nil {
				return err
			}
		}
		if node == nil || node.NodeID != part.GetNodeId() {
			node = &nodeBundle{NodeID: part.GetNodeId(), Files: []bundled{}}
			b.m.Nodes = append(b.m.Nodes, node)
		}
		if part.GetName() == "" {
			node.Error = part.GetError()
			continue
		}
		if file == nil {
			file = &bundled{Name: part.GetName()}
		}
		file.Error = part.GetError()
		text.Write(part.GetData())
	}
	if !errors.Is(err, io.EOF) {
		node.Error = "it broke off: " + words(err)
	}
	return finish()
}

// doctor adds what the doctor found.
func (b *bundle) doctor(text []byte, err error) error {
	b.m.Doctor = bundled{Name: "doctor.json", Bytes: len(text)}
	if err != nil {
		b.m.Doctor.Error = words(err)
		return nil
	}
	return b.add("doctor.json", text)
}

func (b *bundle) add(name string, text []byte) error {
	err := b.tar.WriteHeader(&tar.Header{Name: path.Join(b.root, name), Mode: 0o600, Size: int64(len(text)), ModTime: b.now})
	if err != nil {
		return err
	}
	_, err = b.tar.Write(text)
	return err
}

// close ends the archive with the manifest.
func (b *bundle) close() error {
	text, err := json.MarshalIndent(b.m, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(b.add("manifest.json", append(text, '\n')), b.tar.Close(), b.zip.Close())
}

// plainName keeps what a node says out of the paths of an archive.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	if strings.Trim(s, ".") == "" {
		return "_"
	}
	return s
}

func (a *app) printBundle(m *written) error {
	for _, n := range m.Nodes {
		if n.Error != "" {
			a.say("warning: node %s: %s", printable(n.NodeID), printable(n.Error))
		}
		for _, f := range n.Files {
			if f.Error != "" {
				a.say("warning: node %s: %s: %s", printable(n.NodeID), printable(f.Name), printable(f.Error))
			}
		}
	}
	if m.Doctor.Error != "" {
		a.say("warning: the doctor was not asked: %s", printable(m.Doctor.Error))
	}
	if a.set.json() {
		return a.writeValue(m)
	}
	t := newTable("NODE", "FILES", "BYTES")
	for _, n := range m.Nodes {
		total := 0
		for _, f := range n.Files {
			total += f.Bytes
		}
		t.add(n.NodeID, len(n.Files), bytesWord(int64(total)))
	}
	if err := t.write(a.stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "wrote %s, %s\n", m.File, bytesWord(m.Bytes))
	return err
}
