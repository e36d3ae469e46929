"""imports in batches

Revision: 0004, after 0003
"""

from alembic import op
import sqlalchemy as sa
from shoptalk.store.columns import Time

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('arrivals', sa.Column('batch_id', sa.String(length=80), nullable=True))
    op.create_index(op.f('ix_arrivals_batch_id'), 'arrivals', ['batch_id'])
    op.create_table(
        'import_batches',
        sa.Column('id', sa.String(length=80), nullable=False),
        sa.Column('source', sa.String(length=64), nullable=False),
        sa.Column('name', sa.String(length=200), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('reasons', sa.JSON(), nullable=False),
        sa.Column('report', sa.JSON(), nullable=False),
        sa.Column('created_at', Time(timezone=True), nullable=False),
        sa.Column('updated_at', Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_import_batches')),
    )
    op.create_table(
        'imported',
        sa.Column('conversation_id', sa.String(length=80), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('scrubber', sa.String(length=32), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('turn_ids', sa.JSON(), nullable=False),
        sa.Column('updated_at', Time(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('conversation_id', name=op.f('pk_imported')),
    )


def downgrade() -> None:
    op.drop_table('imported')
    op.drop_table('import_batches')
    op.drop_index(op.f('ix_arrivals_batch_id'), 'arrivals')
    op.drop_column('arrivals', 'batch_id')
