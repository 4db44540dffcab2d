package mcpserver

import (
	"context"
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/probe"
)

// hostTools are the tools about the host.
func hostTools() []entry { return []entry{doctorTool(), imagesTool(), auditTool()} }

// Diagnosis is what the checks of the host found.
type Diagnosis struct {
	Worst    string          `json:"worst" jsonschema:"ok, warn or fail"`
	Findings []probe.Finding `json:"findings"`
}

func doctorTool() entry {
	return define(about{
		name: "doctor", title: "Check the host", hints: hints{readOnly: true, idempotent: true},
		description: "Check whether the host is fit for sessions, and return for each fault the command by which the user mends it.",
	}, func(ctx context.Context, t *turn, _ nothing) (Diagnosis, string, error) {
		stop := t.beat(ctx, "checking the host", quiet)
		defer stop()
		all := t.Doctor(ctx)
		var text strings.Builder
		for _, f := range all {
			fmt.Fprintf(&text, "%s: %s: %s\n", f.Verdict, f.Check, api.Printable(f.Detail))
			if f.Mend != "" {
				fmt.Fprintf(&text, "  mend: %s\n", api.Printable(f.Mend))
			}
		}
		return Diagnosis{string(probe.Worst(all)), all}, text.String(), nil
	})
}

// Images are the session images.
type Images struct {
	Images []engine.Image `json:"images"`
}

func imagesTool() entry {
	return define(about{
		name: "list_images", title: "List session images", hints: hints{readOnly: true, idempotent: true},
		description: "List the images that sessions can be made of. The user builds one with `ccc image build`.",
	}, func(ctx context.Context, t *turn, _ nothing) (Images, string, error) {
		all, err := t.Server.Images(ctx)
		if err != nil {
			return Images{}, "", err
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%d images\n", len(all))
		for i := range all {
			for j, name := range all[i].Names {
				all[i].Names[j] = api.Printable(name)
			}
			if all[i].Names == nil {
				all[i].Names = []string{}
			}
			fmt.Fprintf(&text, "%.12s %s, %d bytes\n", all[i].ID, strings.Join(all[i].Names, " "), all[i].Size)
		}
		return Images{append([]engine.Image{}, all...)}, text.String(), nil
	})
}

func auditTool() entry {
	return define(about{
		name: "verify_audit", title: "Prove the audit log", hints: hints{readOnly: true, idempotent: true},
		description: "Check every record of the audit log against its hash and the record before it.",
	}, func(ctx context.Context, t *turn, _ nothing) (audit.Report, string, error) {
		r, err := t.Server.Audit(ctx)
		if err != nil {
			return audit.Report{}, "", err
		}
		return r, fmt.Sprintf("%d records are whole; the chain does not prove %s", r.Records, strings.Join(r.Unproven, ", nor ")), nil
	})
}
