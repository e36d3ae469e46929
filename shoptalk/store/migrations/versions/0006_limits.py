"""limits of API keys, and buckets that several API processes share

Revision: 0006, after 0005
"""

from alembic import op
import sqlalchemy as sa

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('api_keys', sa.Column('limits', sa.JSON(), nullable=True))
    op.create_table(
        'rate_buckets',
        sa.Column('id', sa.String(length=200), nullable=False),
        sa.Column('tokens', sa.Float(), nullable=False),
        sa.Column('at', sa.Float(), nullable=False),
        sa.Column('full_at', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_rate_buckets')),
    )
    op.create_index(op.f('ix_rate_buckets_full_at'), 'rate_buckets', ['full_at'])


def downgrade() -> None:
    op.drop_table('rate_buckets')
    op.drop_column('api_keys', 'limits')
