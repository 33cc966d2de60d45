#!/usr/bin/env bash
# Installs wheelyard on Cloud Run, with everything that it needs, in a project with billing.
#
#     PROJECT_ID=my-project deploy/cloud-shell/install.sh
#
# It asks nothing, and prints each step. Run it again after a failure, or after `git pull` for a newer version: it
# keeps existing things and creates missing ones. REGION, BUCKET, INDEX_URL, IMAGE and SIGNER_ROLE_ID are optional
# variables.
set -euo pipefail

clone=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=common.sh
. "$clone/deploy/cloud-shell/common.sh"
# A new service account needs some seconds until all of Google's services know it.
patiently() {
  local left
  for left in 5 4 3 2 1 0; do
    "$@" > /dev/null && return
    [ "$left" -gt 0 ] || return 1
    sleep "${PAUSE:-5}"
  done
}

say "the project $PROJECT_ID"
number=$(gcloud projects describe "$PROJECT_ID" --format='value(projectNumber)')
version=$(git -C "$clone" rev-parse --short=12 HEAD 2> /dev/null || echo latest)
export INDEX_URL=${INDEX_URL:-https://wheelyard-$number.$REGION.run.app}
export IMAGE=${IMAGE:-$REGION-docker.pkg.dev/$PROJECT_ID/wheelyard/wheelyard:$version}
echo "index: $INDEX_URL"
echo "image: $IMAGE"

say "Google's services"
gcloud services enable run.googleapis.com storage.googleapis.com iam.googleapis.com iamcredentials.googleapis.com \
  artifactregistry.googleapis.com cloudbuild.googleapis.com secretmanager.googleapis.com logging.googleapis.com

say "buckets: $BUCKET, $CREDENTIALS, $BUILDS"
# The label and the settings are one request, so a bucket with the label has all settings.
make_bucket() {
  local bucket=$1
  shift
  gcloud storage buckets create "gs://$bucket" --location="$REGION" \
    --uniform-bucket-level-access --public-access-prevention "--soft-delete-duration=$1"
  shift
  patiently gcloud storage buckets update "gs://$bucket" --update-labels="$MARK" "$@" || {
    echo "gs://$bucket was made, but not marked as made here. Type this, and run it again:" >&2
    echo "gcloud storage buckets update gs://$bucket --update-labels=$MARK $*" >&2
    exit 1
  }
}
# An existing bucket is used unchanged, if it cannot be made public.
look_at_bucket() {
  local closed
  closed=$(gcloud storage buckets describe "gs://$1" --format='value(uniform_bucket_level_access,public_access_prevention)')
  if [ "$closed" != $'True\tenforced' ]; then
    echo "gs://$1 is there already, and could be opened to the public, or has rights for single objects. Close it:" >&2
    echo "gcloud storage buckets update gs://$1 --uniform-bucket-level-access --public-access-prevention" >&2
    echo "and run it again; or set BUCKET to another name." >&2
    exit 1
  fi
  is_made_here "$1" || echo "gs://$1 was not made here. Its versions and lifecycle rules stay as they are; remove.sh leaves it."
}
for bucket in "$BUCKET" "$CREDENTIALS"; do
  if has_bucket "$bucket"; then
    look_at_bucket "$bucket"
  else
    make_bucket "$bucket" 7d --versioning --lifecycle-file="$clone/deploy/cloud-run/lifecycle.json"
  fi
done
# Build sources can be sent again, so they are kept for a week only.
if has_bucket "$BUILDS"; then
  look_at_bucket "$BUILDS"
else
  make_bucket "$BUILDS" 0 --lifecycle-file="$clone/deploy/cloud-build/lifecycle.json"
fi

say "accounts: the server, what publishes from CI, and what builds the image"
for account in wheelyard wheelyard-publisher wheelyard-builder; do
  has_account "$account@$PROJECT_ID.iam.gserviceaccount.com" || gcloud iam service-accounts create "$account"
done
for bucket in "$BUCKET" "$CREDENTIALS"; do
  patiently gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
    --member="serviceAccount:$SERVER" --role=roles/storage.objectUser
done
# The server signs download URLs as itself. Google's own role would also allow it to create tokens. The name of a
# deleted role stays reserved for weeks, and the role can be restored.
has_role || gcloud iam roles undelete "$SIGNER_ROLE_ID" --project="$PROJECT_ID" > /dev/null 2>&1 ||
  gcloud iam roles create "$SIGNER_ROLE_ID" --project="$PROJECT_ID" --title="wheelyard: signs URLs" \
    --permissions=iam.serviceAccounts.signBlob > /dev/null || {
    echo "The role $SIGNER_ROLE_ID could not be made. One that was deleted can be brought back for a week, and its name stays" >&2
    echo "taken for a month after that. If it is so, take another name, here and for remove.sh:" >&2
    echo "export SIGNER_ROLE_ID=${SIGNER_ROLE_ID}2" >&2
    exit 1
  }
patiently gcloud iam service-accounts add-iam-policy-binding "$SERVER" \
  --member="serviceAccount:$SERVER" --role="projects/$PROJECT_ID/roles/$SIGNER_ROLE_ID"
# A build authenticates to the index with an ID token of its own account.
patiently gcloud iam service-accounts add-iam-policy-binding "$PUBLISHER" \
  --member="serviceAccount:$PUBLISHER" --role=roles/iam.serviceAccountOpenIdTokenCreator
for account in "$PUBLISHER" "$BUILDER"; do
  patiently gcloud projects add-iam-policy-binding "$PROJECT_ID" \
    --member="serviceAccount:$account" --role=roles/logging.logWriter --condition=None
done
# Only the build account may read the sources of the image. Publishing builds get their source from a trigger, or from
# another bucket: docs/deploy/cloud-build.md.
patiently gcloud storage buckets add-iam-policy-binding "gs://$BUILDS" \
  --member="serviceAccount:$BUILDER" --role=roles/storage.objectViewer

say "the image, which takes some minutes the first time"
if ! has_repository; then
  gcloud artifacts repositories create wheelyard --repository-format=docker --location="$REGION"
  patiently gcloud artifacts repositories set-cleanup-policies wheelyard --location="$REGION" \
    --policy="$clone/deploy/image/cleanup.json" --no-dry-run
fi
patiently gcloud artifacts repositories add-iam-policy-binding wheelyard --location="$REGION" \
  --member="serviceAccount:$BUILDER" --role=roles/artifactregistry.writer
# Without git, the commit of an image is unknown.
if [ "$version" != latest ] && gcloud artifacts docker images describe "$IMAGE" > /dev/null 2>&1; then
  echo "it is there"
else
  gcloud builds submit "$clone" --config="$clone/deploy/image/cloudbuild.yaml" --substitutions="_IMAGE=$IMAGE" \
    --service-account="projects/$PROJECT_ID/serviceAccounts/$BUILDER" \
    --gcs-source-staging-dir="gs://$BUILDS/source"
fi

say "the settings, and what describes the index, as secrets"
# make_secret NAME, of what is piped into it
make_secret() {
  if has_secret "$1"; then
    echo "$1 is there, and left alone"
  else
    gcloud secrets create "$1" --data-file=-
  fi
  patiently gcloud secrets add-iam-policy-binding "$1" \
    --member="serviceAccount:$SERVER" --role=roles/secretmanager.secretAccessor
}
# Rendered before anything is piped: gcloud would create an empty secret if that failed.
settings=$(python3 "$clone/deploy/render.py" "$clone/deploy/cloud-run/wheelyard.toml")
index=$(python3 "$clone/deploy/render.py" "$clone/deploy/cloud-run/index.toml")
if has_secret wheelyard-toml; then
  settings=$(gcloud secrets versions access latest --secret=wheelyard-toml)
  if grep -Eq '^[[:space:]]*\[+[[:space:]]*(main|index|groups|grant|publisher|retention)[[:space:]]*[].]' <<< "$settings"; then
    echo "The secret wheelyard-toml has tables that describe the index, which are in wheelyard-index-toml now. Move them, as" >&2
    echo "docs/deploy/cloud-run.md says in \"From a version without index.toml\", and run it again." >&2
    exit 1
  fi
  # Settings without a grant are of somebody who has taken it away: the new file does not give it back.
  index='# docs/index-file.md has all tables.'
fi
# In this order: if the second fails, this is still a new installation.
make_secret wheelyard-index-toml <<< "$index"
make_secret wheelyard-toml <<< "$settings"

say "the service"
python3 "$clone/deploy/render.py" "$clone/deploy/cloud-run/service.yaml" |
  gcloud run services replace - --region="$REGION"
for left in 5 4 3 2 1 0; do
  curl -fsS -o /dev/null "$INDEX_URL/ready" && break
  if [ "$left" -eq 0 ]; then
    echo "$INDEX_URL does not answer. Look at: gcloud run services logs read wheelyard --region=$REGION" >&2
    exit 1
  fi
  sleep "${PAUSE:-5}"
done
echo "it answers"

say "the first token"
# The command line creates tokens in the bucket, and the project's owner may lack a role for that.
me=$(gcloud config get account)
case $me in
  *.gserviceaccount.com) me=serviceAccount:$me ;;
  *) me=user:$me ;;
esac
for bucket in "$BUCKET" "$CREDENTIALS"; do
  patiently gcloud storage buckets add-iam-policy-binding "gs://$bucket" --member="$me" --role=roles/storage.objectUser
done
export WHEELYARD_STORE=gs://$BUCKET WHEELYARD_ACCESS_CREDENTIALS_STORE=gs://$CREDENTIALS
# Install the command line of this clone, whatever else is on the path; a file beside it records its version. The home
# folder of a Cloud Shell survives the machine, and with it a Python that may be gone.
tools=$HOME/.wheelyard
if [ "$version" = latest ] || [ "$(cat "$tools/made-from" 2> /dev/null)" != "$version" ] ||
  ! "$tools/bin/wheelyard" --version > /dev/null 2>&1; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet "${clone}[gcs]"
  echo "$version" > "$tools/made-from"
fi
tokens=$("$tools/bin/wheelyard" token list --json 2>&1) || case $tokens in
  *"There is no store"*) ;;   # nobody has asked the server for anything yet
  *)
    printf '%s\n' "$tokens" >&2
    exit 1
    ;;
esac
case $tokens in
  *'"state":"active"'*)
    echo "There is one already. The last lines make another."
    ;;
  *)
    token=$("$tools/bin/wheelyard" token create first --can read,upload,manage)
    echo "It is shown this once, holds for 90 days, and reads, uploads and manages every project:"
    echo
    echo "    $token"
    ;;
esac
cat << LINES

Install:  uv pip install --index ${INDEX_URL/:\/\//:\/\/__token__:TOKEN@}/simple/ NAME
Publish:  twine upload --repository-url $INDEX_URL/legacy/ -u __token__ -p TOKEN dist/*
Remove:   PROJECT_ID=$PROJECT_ID REGION=$REGION BUCKET=$BUCKET SIGNER_ROLE_ID=$SIGNER_ROLE_ID $(printf %q "$clone/deploy/cloud-shell/remove.sh")

Another token, in any shell of yours on this machine:

    export WHEELYARD_STORE=$WHEELYARD_STORE WHEELYARD_ACCESS_CREDENTIALS_STORE=$WHEELYARD_ACCESS_CREDENTIALS_STORE
    $(printf %q "$tools/bin/wheelyard") token create NAME --can read,upload
LINES
