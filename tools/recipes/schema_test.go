// Package recipes checks the files of deploy/recipes and deploy/gateways that are written for
// other programs: against the schemas and with the template engines of those programs.
package recipes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// crds are the files with CustomResourceDefinitions, by module and version. The Go module
// proxy serves them, and go mod download checks them against the checksum database.
var crds = map[string][]string{
	"github.com/external-secrets/external-secrets@v1.3.2": {"config/crds/bases/*.yaml"},
	"sigs.k8s.io/secrets-store-csi-driver@v1.4.0":         {"config/crd/bases/*.yaml"},
	"github.com/bitnami-labs/sealed-secrets@v0.36.0":      {"helm/sealed-secrets/crds/*.yaml"},
}

// repository is the root of the repository.
const repository = "../.."

// A kind checks objects of one version of a custom resource.
type kind struct {
	schema    *structuralschema.Structural
	validator validation.SchemaValidator
	cel       *cel.Validator
}

// kinds returns every kind of crds, by apiVersion and kind.
var kinds = sync.OnceValues(func() (map[string]*kind, error) {
	all := map[string]*kind{}
	for module, patterns := range crds {
		out, err := exec.Command("go", "mod", "download", "-json", module).Output()
		var info struct{ Dir, Error string }
		if jsonErr := json.Unmarshal(out, &info); jsonErr != nil || info.Dir == "" {
			return nil, fmt.Errorf("go mod download %s: %w, %s", module, errors.Join(err, jsonErr), info.Error)
		}
		for _, pattern := range patterns {
			files, err := filepath.Glob(filepath.Join(info.Dir, pattern))
			if err != nil || len(files) == 0 {
				return nil, fmt.Errorf("%s has no %s: %w", module, pattern, errors.Join(err, os.ErrNotExist))
			}
			for _, file := range files {
				if err := readKinds(all, file); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
			}
		}
	}
	return all, nil
})

func readKinds(all map[string]*kind, file string) error {
	docs, err := documents(file)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(doc, &crd); err != nil {
			return err
		}
		if crd.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
				continue
			}
			var props apiextensions.JSONSchemaProps
			if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
				return err
			}
			k := &kind{}
			if k.schema, err = structuralschema.NewStructural(&props); err != nil {
				return err
			}
			if k.validator, _, err = validation.NewSchemaValidator(&props); err != nil {
				return err
			}
			k.cel = cel.NewValidator(k.schema, true, celconfig.PerCallLimit)
			all[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = k
		}
	}
	return nil
}

// documents returns the YAML documents of a file.
func documents(file string) ([][]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var docs [][]byte
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(doc)) > 0 {
			docs = append(docs, doc)
		}
	}
}

// check returns what an API server with the CRDs would refuse or silently drop.
func check(doc []byte) error {
	all, err := kinds()
	if err != nil {
		return err
	}
	var u unstructured.Unstructured
	if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
		return err
	}
	k, ok := all[u.GetAPIVersion()+" "+u.GetKind()]
	if !ok { // a kind of Kubernetes itself
		_, _, err := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(doc, nil, nil)
		return err
	}
	var errs []error
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(u.Object, k.schema, true, options) {
		errs = append(errs, fmt.Errorf("%s: unknown field", path))
	}
	defaulting.Default(u.Object, k.schema)
	for _, err := range validation.ValidateCustomResource(nil, u.Object, k.validator) {
		errs = append(errs, err)
	}
	if k.cel != nil {
		found, _ := k.cel.Validate(context.Background(), nil, k.schema, u.Object, nil, celconfig.RuntimeCELCostBudget)
		for _, err := range found {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Every object in the recipes is one that the API server accepts, without unknown fields.
func TestSchemas(t *testing.T) {
	n := 0
	for _, dir := range []string{"deploy/recipes", "deploy/gateways/kubernetes"} {
		err := filepath.WalkDir(filepath.Join(repository, dir), func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || filepath.Ext(path) != ".yaml" {
				return nil
			}
			docs, err := documents(path)
			if err != nil {
				return err
			}
			for _, doc := range docs {
				n++
				if err := check(doc); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if n < 8 {
		t.Errorf("checked %d objects only", n)
	}
}

// The check finds an unknown field, a wrong value and a broken rule.
func TestSchemasRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: x}\nspec: {refreshIntervall: 1h}":            "spec.refreshIntervall: unknown field",
		"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: x}\nspec: {target: {creationPolicy: Never}}": "Unsupported value",
		"apiVersion: generators.external-secrets.io/v1alpha1\nkind: Password\nmetadata: {name: x}\nspec: {length: long}":         "must be of type integer",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x}\nrules: [{verb: [get]}]":                      "unknown field",
		"apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: x}":                                                         "no kind",
	} {
		if err := check([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v, want %q", text, err, want)
		}
	}
}
