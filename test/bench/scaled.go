package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/raftsentinel/raftsentinel/test/scale"
)

// scaled measures clusters of many masters.
func scaled(ctx context.Context, o options, dir string, stdout, stderr io.Writer) error {
	so := scale.Options{
		Node: filepath.Join(dir, "sentineld"), Control: filepath.Join(dir, "sentinelctl"), Farm: filepath.Join(dir, "farm"),
		Runs: o.rounds, Only: o.only, Sentinel: o.sentinel, Rest: o.rest, Profiles: o.profiles,
		Progress: stderr,
	}
	tags := ""
	if o.profiles != "" {
		tags = "profile"
	}
	if err := goBuild(ctx, tags, "-o", dir+"/", "./cmd/sentineld", "./cmd/sentinelctl", "./test/farm"); err != nil {
		return err
	}
	sync, err := fsyncP50(dir)
	if err != nil {
		return err
	}
	t, err := scale.Run(ctx, so)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Median of %d runs, and each of them; %s", o.rounds, machine(sync)) + t.String()
	fmt.Fprint(stdout, text)
	if o.write == "" {
		return nil
	}
	return replaceIn(o.write, "bench", text)
}
